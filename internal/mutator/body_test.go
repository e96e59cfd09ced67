package mutator

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-logr/logr"
)

func TestReadAllReturnsWhatArrives(t *testing.T) {
	for _, size := range []int{0, 1, minBuffer - 1, minBuffer, minBuffer + 1, maxPooled, maxPooled + 1, 1 << 20} {
		body := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
		for sentence, announced := range map[string]int64{
			"announced": int64(size), "not announced": -1, "announced too short": int64(size / 2), "announced too long": int64(2 * size),
			"announced beyond all memory": 1 << 60, "announced as the largest number": math.MaxInt64,
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
	for _, announced := range []int64{-1, 0, minBuffer, maxPooled, 7 << 20, 1 << 62, math.MaxInt64} {
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

// A request must not read into a buffer that another one still uses. The second
// request here runs while the first is in the middle of its body.
func TestRequestsDoNotShareBuffers(t *testing.T) {
	h := NewHandler(Settings{}, nil, logr.Discard(), nil)
	post := func(body io.Reader) string {
		req := httptest.NewRequest("POST", "/mutate", body)
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w.Body.String()
	}
	first := goldenReview(t)
	second := bytes.Replace(first, []byte("0df28fbd"), []byte("another-uid"), 1)
	var inner string
	outer := post(io.MultiReader(
		bytes.NewReader(first[:3000]),
		readerFunc(func([]byte) (int, error) {
			inner = post(bytes.NewReader(second))
			return 0, io.EOF
		}),
		bytes.NewReader(first[3000:]),
	))
	const rest = `-5f5f-11e8-bc74-36e6bb280816","allowed":true,"patch"`
	if !strings.Contains(outer, `"uid":"0df28fbd`+rest) || !strings.Contains(inner, `"uid":"another-uid`+rest) {
		t.Errorf("got the answers %s and %s", outer, inner)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
