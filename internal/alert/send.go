package alert

import (
	"bytes"
	"context"
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
	maxDetailBytes  = 200              // of the other side's words in our logs
	maxBodyBytes    = 20000            // DingTalk refuses longer bodies with 460101
	shortBodyBytes  = maxBodyBytes / 2 // the second try after a 460101
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

// post makes one signed call. The error is a *failure without any secret.
func post(ctx context.Context, client *http.Client, c credentials, body []byte, now time.Time) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.requestURL(now), bytes.NewReader(body))
	if err != nil {
		return fail(reasonCredentials, 0, c.hide(causeOf(err)))
	}
	request.Header.Set("Content-Type", contentTypeJSON)
	response, err := client.Do(request)
	if err != nil {
		return fail(reasonNetwork, 0, c.detail(causeOf(err)))
	}
	defer func() { _ = response.Body.Close() }()
	switch {
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return fail(reasonRedirect, 0, fmt.Sprintf("HTTP status %d", response.StatusCode))
	case response.StatusCode != http.StatusOK:
		return fail(reasonServer, 0, fmt.Sprintf("HTTP status %d", response.StatusCode))
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return fail(reasonNetwork, 0, c.detail(causeOf(err)))
	}
	return c.judge(text)
}

// judge reads DingTalk's answer: only its errcode decides, and 0 is success.
func (c credentials) judge(text []byte) error {
	var answer struct {
		Code    *int   `json:"errcode"`
		Message string `json:"errmsg"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Code == nil {
		return fail(reasonAnswer, 0, "the body is not JSON with an errcode")
	}
	if *answer.Code == 0 {
		return nil
	}
	reason := reasonOfAnswer(*answer.Code, answer.Message)
	if reason == reasonTimestamp && c.secret.reveal() == "" {
		reason = reasonSignature // an unsigned call carries no timestamp: the robot asks for a signature
	}
	return fail(reason, *answer.Code, c.detail(answer.Message))
}

// detail makes a text of the other side fit for our logs: no secret (hidden
// before it is cut, so that no half of one survives), bounded, one line.
func (c credentials) detail(text string) string {
	return cut(plain(c.hide(text)), maxDetailBytes)
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
