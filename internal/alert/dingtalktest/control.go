package dingtalktest

import (
	"encoding/json"
	"net/http"
)

// Control lets a test steer the stand-in when it runs in a pod:
//
//	GET    /messages           what was accepted, as a JSON list of Message
//	DELETE /messages           forget it
//	GET    /stats              the counts, as a JSON Stats
//	PUT    /behaviour/{name}   change the behaviour; 400 for an unknown one
//
// It is to be served at an address of its own.
func (r *Robot) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /messages", func(w http.ResponseWriter, _ *http.Request) {
		messages := r.Messages()
		if messages == nil {
			messages = []Message{}
		}
		answer(w, messages)
	})
	mux.HandleFunc("DELETE /messages", func(w http.ResponseWriter, _ *http.Request) {
		r.Forget()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, r.Stats()) })
	mux.HandleFunc("PUT /behaviour/{name}", func(w http.ResponseWriter, request *http.Request) {
		b, err := ParseBehaviour(request.PathValue("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Behave(b)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
