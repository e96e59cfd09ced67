package mutator

import (
	"fmt"
	"io"
	"unicode/utf8"
)

// scanner reads one JSON text (RFC 8259) from front to back, once. It checks
// the syntax of what it reads, keeps nothing of what is skipped, and allocates
// only for strings that are asked for. The zero value with data set is ready.
//
// It exists because the handler needs a dozen small values out of a text whose
// rest it must neither keep nor change: see the package comment for what the
// libraries cost. No method calls itself.
//
// Every method that returns an error leaves the scanner unusable.
type scanner struct {
	data []byte
	pos  int // next unread byte of data
}

// fail describes what is wrong at the unread byte.
func (s *scanner) fail(expected string) error {
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

// peek passes over white space and returns the next byte without consuming it,
// 0 at the end of the text. A zero byte in the text is no JSON either, so the
// two need not be told apart.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) && s.data[s.pos] > ' ' { // short enough to be inlined
		return s.data[s.pos]
	}
	return s.peekAfterSpace()
}

func (s *scanner) peekAfterSpace() byte {
	for ; s.pos < len(s.data); s.pos++ {
		if c := s.data[s.pos]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

// end reports an error unless only white space is left.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.data) {
		return s.fail("the end of the text")
	}
	return nil
}

// object reads an object and calls member once for every name, escapes
// resolved. The name is valid only during the call, which must consume exactly
// the member's value.
func (s *scanner) object(member func(name []byte) error) error {
	if err := s.open('{'); err != nil {
		return err
	}
	if s.peek() == '}' {
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
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			return s.close()
		default:
			return s.fail("a comma or the end of the object")
		}
	}
}

// array reads an array and calls element at the start of every element, which
// it must consume.
func (s *scanner) array(element func() error) error {
	if err := s.open('['); err != nil {
		return err
	}
	if s.peek() == ']' {
		return s.close()
	}
	for {
		if err := element(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			return s.close()
		default:
			return s.fail("a comma or the end of the array")
		}
	}
}

func (s *scanner) open(bracket byte) error {
	if s.peek() != bracket {
		return s.fail(fmt.Sprintf("%q", bracket))
	}
	s.pos++
	return nil
}

func (s *scanner) close() error {
	s.pos++
	return nil
}

// name reads a member's name and the colon after it.
func (s *scanner) name() ([]byte, error) {
	name, err := s.text()
	if err != nil {
		return nil, err
	}
	return name, s.colon()
}

func (s *scanner) colon() error {
	if s.peek() != ':' {
		return s.fail("a colon")
	}
	s.pos++
	return nil
}
