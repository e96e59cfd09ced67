// Command probe is the workload of the cluster's own tests. It serves, on port 8080:
//
//	/hostname       the pod's name
//	/whoami         who the API server says this pod is, by in-cluster configuration
//	/get?url=URL    what the pod receives from URL
//
// and, called with arguments, prints them: something to exec that needs no shell.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Println(strings.Join(os.Args[1:], " "))
		return
	}
	for path, answer := range map[string]func(*http.Request) (string, error){
		"/hostname": func(*http.Request) (string, error) { return os.Hostname() }, "/whoami": whoami, "/get": get,
	} {
		http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			text, err := answer(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			_, _ = io.WriteString(w, text)
		})
	}
	fmt.Println("probe is serving")
	log.Fatal(http.ListenAndServe(":8080", nil))
}

func whoami(r *http.Request) (string, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return "", err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(
		r.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return review.Status.UserInfo.Username, nil
}

func get(r *http.Request) (string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(r.FormValue("url"))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}
