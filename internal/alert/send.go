package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// Bounds of one call. DingTalk answers in well under a second with some 50 bytes.
const (
	attemptTimeout  = 10 * time.Second // the whole call, body included
	connectTimeout  = 5 * time.Second  // TCP, and TLS on its own
	maxAnswerBytes  = 64 << 10         // of the body, and of the header
	maxWordsBytes   = 200              // of the other side's words in our logs
	maxBodyBytes    = 20000            // DingTalk refuses longer bodies with 460101
	contentTypeJSON = "application/json; charset=utf-8"
)

// dialFunc opens a connection; tests replace the network by it.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// newClient returns the client that all calls share. It keeps no connection: at
// one call per some seconds a kept one would only be found closed by the server,
// and a POST is not repeated by net/http. It follows no redirect, because the
// Referer header would carry the token to another host. The proxy comes from the
// environment (HTTPS_PROXY, NO_PROXY), read once here.
func newClient(dial dialFunc) *http.Client {
	proxy := httpproxy.FromEnvironment().ProxyFunc()
	if dial == nil {
		dial = (&net.Dialer{Timeout: connectTimeout}).DialContext
	}
	return &http.Client{
		Timeout:       attemptTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
			DialContext:            dial,
			TLSHandshakeTimeout:    connectTimeout,
			ResponseHeaderTimeout:  attemptTimeout,
			MaxResponseHeaderBytes: maxAnswerBytes,
			DisableKeepAlives:      true,
		},
	}
}

// post makes one call, signed for now. The error is a *failure without any secret.
func post(ctx context.Context, client *http.Client, c credentials, body []byte, now time.Time) error {
	address, signature := c.requestURL(now)
	c.signature = newSecret(signature)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return fail(reasonCredentials, 0, c.words(causeOf(err)))
	}
	request.Header.Set("Content-Type", contentTypeJSON)
	response, err := client.Do(request)
	if err != nil {
		return fail(networkReason(err), 0, c.words(causeOf(err)))
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return fail(networkReason(err), 0, c.words(causeOf(err)))
	}
	if f := c.failureOf(response.StatusCode, text); f != nil {
		f.date, _ = http.ParseTime(response.Header.Get("Date")) // zero if it cannot be read
		return f
	}
	return nil
}

// networkReason tells trouble with TLS from a host that cannot be reached.
func networkReason(err error) string {
	var (
		verification *tls.CertificateVerificationError
		header       tls.RecordHeaderError
		alert        tls.AlertError
	)
	if errors.As(err, &verification) || errors.As(err, &header) || errors.As(err, &alert) || errors.Is(err, http.ErrSchemeMismatch) {
		return reasonTLS
	}
	return reasonNetwork
}

// failureOf reads the answer: nil means that DingTalk accepted the message. A robot that is
// rate-limited answers in four ways: by an errcode, by HTTP 429, by a redirect to a
// page that explains it, and by a ban of the calling address.
func (c credentials) failureOf(status int, text []byte) *failure {
	var answer struct {
		Code    *int   `json:"errcode"`
		Message string `json:"errmsg"`
		Punish  string `json:"punish"` // {"status":1111,"punish":"deny"}
	}
	err := json.Unmarshal(text, &answer)
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusFound && c.isDingTalk(), err == nil && answer.Punish != "":
		return fail(reasonThrottled, 0, fmt.Sprintf("HTTP status %d", status))
	case status >= 300 && status < 400:
		return fail(reasonRedirect, 0, fmt.Sprintf("HTTP status %d", status))
	case status != http.StatusOK:
		return fail(reasonServer, 0, fmt.Sprintf("HTTP status %d", status))
	case err != nil || answer.Code == nil:
		return fail(reasonAnswer, 0, "the body is not JSON with an errcode")
	case *answer.Code == 0:
		return nil
	}
	reason := reasonOfAnswer(*answer.Code, answer.Message)
	if reason == reasonTimestamp && !c.signed() {
		reason = reasonSignature // an unsigned call carries no timestamp: the robot asks for a signature
	}
	return fail(reason, *answer.Code, c.words(answer.Message))
}

// words makes a text of the other side fit for our logs: no secret (hidden
// before it is cut, so that no half of one survives), bounded, one line.
func (c credentials) words(text string) string {
	return cut(plain(c.hide(text)), maxWordsBytes)
}

// causeOf unwraps the error of net/url and net/http, whose text holds the whole
// address with its token, and returns the text of the cause.
func causeOf(err error) string {
	for {
		var wrapped *url.Error
		if !errors.As(err, &wrapped) {
			return err.Error()
		}
		err = wrapped.Err
	}
}

// message is the body of a call.
type message struct {
	Type     string    `json:"msgtype"`
	Text     *text     `json:"text,omitempty"`
	Markdown *markdown `json:"markdown,omitempty"`
	At       at        `json:"at"`
}

type text struct {
	Content string `json:"content"`
}

type markdown struct {
	Title string `json:"title"` // shown in the list of chats only
	Text  string `json:"text"`
}

type at struct {
	Mobiles []string `json:"atMobiles,omitempty"`
	UserIDs []string `json:"atUserIds,omitempty"`
	All     bool     `json:"isAtAll"`
}

// encode returns the body of one call in the configured message type.
func encode(messageType, title, content string, at at) ([]byte, error) {
	m := message{Type: messageType, At: at}
	if messageType == typeText {
		m.Text = &text{Content: content}
	} else {
		m.Markdown = &markdown{Title: title, Text: content}
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // six bytes for each < and > would count against the limit
	if err := encoder.Encode(m); err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return []byte(strings.TrimSuffix(body.String(), "\n")), nil
}
