// Package jsonscan reads a few values out of a JSON text and passes over the
// rest. It exists because every pod creation waits for the webhook, which needs
// a dozen short strings of an AdmissionReview and must neither keep nor change
// the others: see docs/decisions/0003-json.md for what the libraries cost.
package jsonscan

import (
	"fmt"
	"io"
	"unicode/utf8"
)

// Scanner reads one JSON text (RFC 8259) from front to back, once. It checks
// the syntax of what it reads, keeps nothing of what is skipped, and allocates
// only for strings that are asked for. No method calls itself.
//
// Every method that returns an error leaves the Scanner unusable.
type Scanner struct {
	data []byte
	pos  int // next unread byte of data
}

// New returns a Scanner at the start of the text, which must not change while
// anything that was read of it is in use.
func New(text []byte) Scanner { return Scanner{data: text} }

// Pos is the index of the next unread byte.
func (s *Scanner) Pos() int { return s.pos }

// Since returns the text from an earlier Pos up to the next unread byte.
func (s *Scanner) Since(pos int) []byte { return s.data[pos:s.pos] }

// fail describes what is wrong at the unread byte.
func (s *Scanner) fail(expected string) error {
	if s.pos >= len(s.data) {
		return fmt.Errorf("read JSON at byte %d: expected %s: %w", s.pos, expected, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read JSON at byte %d: expected %s, found %s", s.pos, expected, describe(s.data[s.pos:]))
}

// describe names the first character of text.
func describe(text []byte) string {
	r, size := utf8.DecodeRune(text)
	if r == utf8.RuneError && size == 1 {
		return fmt.Sprintf("the byte 0x%02x, which is no UTF-8", text[0])
	}
	if ascii, ok := fullWidth[r]; ok {
		return fmt.Sprintf("%q, which is full-width: type %s instead", r, ascii)
	}
	return fmt.Sprintf("%q", r)
}

// fullWidth maps the punctuation that a Chinese input method types, or a word
// processor, to the ASCII that JSON wants.
var fullWidth = map[rune]string{
	'“': `"`, '”': `"`, '＂': `"`, '「': `"`, '」': `"`, '‘': `"`, '’': `"`,
	'：': ":", '，': ",", '、': ",", '｛': "{", '｝': "}", '［': "[", '］': "]", '【': "[", '】': "]", '\u3000': "a space",
}

// Peek passes over white space and returns the next byte without consuming it,
// 0 at the end of the text. A zero byte in the text is no JSON either, so the
// two need not be distinguished.
func (s *Scanner) Peek() byte {
	if s.pos < len(s.data) && s.data[s.pos] > ' ' { // short enough to be inlined
		return s.data[s.pos]
	}
	return s.peekAfterSpace()
}

func (s *Scanner) peekAfterSpace() byte {
	for ; s.pos < len(s.data); s.pos++ {
		if c := s.data[s.pos]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

// End reports an error unless only white space is left.
func (s *Scanner) End() error {
	if s.Peek(); s.pos < len(s.data) {
		return s.fail("the end of the text")
	}
	return nil
}

// Object reads an object and calls member once for every name, escapes
// resolved. The name is valid only during the call, which must consume exactly
// the member's value.
func (s *Scanner) Object(member func(name []byte) error) error {
	if err := s.open('{'); err != nil {
		return err
	}
	if s.Peek() == '}' {
		return s.close()
	}
	for {
		name, err := s.name()
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
		switch s.Peek() {
		case ',':
			s.pos++
		case '}':
			return s.close()
		default:
			return s.fail("a comma or the end of the object")
		}
	}
}

// Array reads an array and calls element at the start of every element, which
// it must consume.
func (s *Scanner) Array(element func() error) error {
	if err := s.open('['); err != nil {
		return err
	}
	if s.Peek() == ']' {
		return s.close()
	}
	for {
		if err := element(); err != nil {
			return err
		}
		switch s.Peek() {
		case ',':
			s.pos++
		case ']':
			return s.close()
		default:
			return s.fail("a comma or the end of the array")
		}
	}
}

func (s *Scanner) open(bracket byte) error {
	if s.Peek() != bracket {
		return s.fail(fmt.Sprintf("%q", bracket))
	}
	s.pos++
	return nil
}

func (s *Scanner) close() error {
	s.pos++
	return nil
}

// name reads a member's name and the colon after it.
func (s *Scanner) name() ([]byte, error) {
	name, err := s.Text()
	if err != nil {
		return nil, err
	}
	return name, s.colon()
}

func (s *Scanner) colon() error {
	if s.Peek() != ':' {
		return s.fail("a colon")
	}
	s.pos++
	return nil
}
