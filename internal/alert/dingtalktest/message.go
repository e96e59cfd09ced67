package dingtalktest

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// parse reads a body strictly: one JSON object, known fields only, the part that
// belongs to its msgtype present and filled.
func parse(body []byte) (Message, int, string) {
	var in struct {
		Type string `json:"msgtype"`
		Text *struct {
			Content string `json:"content"`
		} `json:"text"`
		Markdown *struct {
			Title string `json:"title"`
			Text  string `json:"text"`
		} `json:"markdown"`
		At struct {
			Mobiles []string `json:"atMobiles"`
			UserIDs []string `json:"atUserIds"`
			All     bool     `json:"isAtAll"`
		} `json:"at"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if !utf8.Valid(body) {
		return Message{}, 40035, "invalid json: not UTF-8"
	}
	if err := decoder.Decode(&in); err != nil {
		return Message{}, 40035, "invalid json: " + err.Error()
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Message{}, 40035, "invalid json: trailing data"
	}
	out := Message{Type: in.Type, AtMobiles: in.At.Mobiles, AtUserIDs: in.At.UserIDs, AtAll: in.At.All, Bytes: len(body)}
	switch {
	case in.Type == "text" && in.Text != nil && in.Markdown == nil && in.Text.Content != "":
		out.Text = in.Text.Content
	case in.Type == "markdown" && in.Markdown != nil && in.Text == nil && in.Markdown.Title != "" && in.Markdown.Text != "":
		out.Title, out.Text = in.Markdown.Title, in.Markdown.Text
	case in.Type == "text" || in.Type == "markdown":
		return Message{}, 40035, "missing or empty parameter: " + in.Type
	default:
		return Message{}, 400105, "unsupported msgtype"
	}
	return out, 0, ""
}

// Called returns the mobiles and the user ids that the message really calls: DingTalk
// calls only who also stands in the text.
func (m Message) Called() []string {
	return slices.DeleteFunc(slices.Concat(m.AtMobiles, m.AtUserIDs), func(name string) bool {
		return !strings.Contains(m.Text, "@"+name)
	})
}
