package mutator

import (
	"bytes"
	"errors"
	"io"
	"net/http/httptest"
	"testing"
	"testing/iotest"

	"github.com/go-logr/logr"
)

func TestReadAllReturnsWhatArrives(t *testing.T) {
	for _, size := range []int{0, 1, minBuffer - 1, minBuffer, minBuffer + 1, maxPooled, maxPooled + 1, 1 << 20} {
		body := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
		for sentence, announced := range map[string]int64{
			"announced": int64(size), "not announced": -1, "announced too short": int64(size / 2), "announced too long": int64(2 * size),
		} {
			got, err := readAll(*getBuffer(announced), iotest.HalfReader(bytes.NewReader(body)), announced)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %s: got %d bytes, error %v", size, sentence, len(got), err)
			}
		}
	}
}

// The memory that a request can claim without sending anything is bounded.
func TestBufferIsNotMadeOnTheWordOfTheSender(t *testing.T) {
	for _, announced := range []int64{-1, 0, minBuffer, maxPooled, 7 << 20, 1 << 62} {
		if got := cap(*getBuffer(announced)); got < minBuffer || got > maxPooled {
			t.Errorf("announced %d bytes: got a buffer of %d", announced, got)
		}
	}
}

func TestAnnouncedBodyIsReadIntoOneBuffer(t *testing.T) {
	const size = 3 << 20
	got, err := readAll(*getBuffer(size), bytes.NewReader(make([]byte, size)), size)
	if err != nil || cap(got) != size+1 {
		t.Errorf("got a buffer of %d bytes, error %v, want %d", cap(got), err, size+1)
	}
}

// A large body must not stay in memory for as long as the pool lives.
func TestLargeBufferIsNotKept(t *testing.T) {
	large := make([]byte, 0, maxPooled+1)
	putBuffer(&large)
	for range 100 {
		if got := cap(*getBuffer(0)); got > maxPooled {
			t.Fatalf("the pool returned a buffer of %d bytes", got)
		}
	}
}

func TestBrokenBodyIsRefused(t *testing.T) {
	h := NewHandler(Settings{}, nil, logr.Discard(), nil)
	body := io.MultiReader(bytes.NewReader(goldenReview(t)[:1000]), iotest.ErrReader(errors.New("connection reset")))
	req := httptest.NewRequest("POST", "/mutate", body)
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if want := "read body: connection reset\n"; w.Code != 400 || w.Body.String() != want {
		t.Errorf("got HTTP %d %q, want 400 %q", w.Code, w.Body, want)
	}
}

// Answers must not read a buffer that another request has taken over.
func TestAnswersDoNotShareBuffers(t *testing.T) {
	h := NewHandler(Settings{}, nil, logr.Discard(), nil)
	done := make(chan string)
	for _, uid := range []string{"first", "second"} {
		go func() {
			problem := ""
			for range 200 {
				body := bytes.Replace(goldenReview(t), []byte("0df28fbd-5f5f-11e8-bc74-36e6bb280816"), []byte(uid), 1)
				req := httptest.NewRequest("POST", "/mutate", bytes.NewReader(body))
				req.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, req)
				if !bytes.Contains(w.Body.Bytes(), []byte(`"uid":"`+uid+`"`)) {
					problem = w.Body.String()
				}
			}
			done <- problem
		}()
	}
	for range 2 {
		if problem := <-done; problem != "" {
			t.Errorf("got the answer %s", problem)
		}
	}
}
