package jsonscan

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
)

// Text reads a string and resolves its escapes. The result may be a part of the
// scanned data: it must be copied to be kept beyond that.
func (s *Scanner) Text() ([]byte, error) {
	if s.Peek() != '"' {
		return nil, s.fail("a string")
	}
	start := s.pos
	plain, err := s.skipString()
	if err != nil {
		return nil, err
	}
	if plain {
		return s.data[start+1 : s.pos-1], nil
	}
	return unquote(s.data[start:s.pos])
}

// unquote resolves the escapes of a string that skipString has passed over. It
// knows those of JSON within JSON, as in our annotation; for everything else it
// asks encoding/json, so that surrogates and invalid UTF-8 mean exactly what
// they mean to the API server.
func unquote(quoted []byte) ([]byte, error) {
	inner := quoted[1 : len(quoted)-1]
	text := make([]byte, 0, len(inner))
	for i := 0; i < len(inner); i++ {
		c := inner[i]
		if c == '\\' {
			i++
			c = simpleEscapes[inner[i]]
		}
		if c == 0 || c >= 0x80 {
			var text string
			if err := json.Unmarshal(quoted, &text); err != nil {
				return nil, fmt.Errorf("read JSON string: %w", err)
			}
			return []byte(text), nil
		}
		text = append(text, c)
	}
	return text, nil
}

// simpleEscapes maps the character after a backslash to what both stand for; 0
// for the escapes left to encoding/json.
var simpleEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'n': '\n', 't': '\t'}

// skipString passes over a string whose opening quote is next. plain says that
// it holds neither escapes nor bytes beyond ASCII.
func (s *Scanner) skipString() (plain bool, err error) {
	data, i := s.data, s.pos+1
	plain = true
	for {
		end, ascii := stringEnd(data, i)
		i, plain = end, plain && ascii
		if i >= len(data) {
			s.pos = i
			return false, s.fail("the end of a string")
		}
		switch data[i] {
		case '"':
			s.pos = i + 1
			return plain, nil
		case '\\':
			n := escapeLen(data[i:])
			if n == 0 {
				s.pos = i
				return false, s.fail("a valid escape")
			}
			plain = false
			i += n
		default:
			s.pos = i
			return false, s.fail("no control character in a string")
		}
	}
}

// stringEnd returns the index of the first byte at or after i that is a quote, a
// backslash or a control character, len(data) if there is none, and whether
// every byte before it is ASCII.
//
// It looks at eight bytes at a time: for each of them the top bit of special
// ends up set if that byte is one of the three. A borrow may also set the bit of
// a byte ABOVE a special one, never of one below, and only the lowest is used.
func stringEnd(data []byte, i int) (end int, ascii bool) {
	const (
		ones = 0x0101010101010101
		tops = 0x8080808080808080
	)
	beyond := uint64(0)
	for ; i+8 <= len(data); i += 8 {
		w := binary.LittleEndian.Uint64(data[i:])
		quote, slash := w^ones*'"', w^ones*'\\'
		special := ((w-ones*' ')&^w | (quote-ones)&^quote | (slash-ones)&^slash) & tops
		if special != 0 {
			n := bits.TrailingZeros64(special) / 8
			return i + n, (beyond|w&(1<<(8*n)-1))&tops == 0
		}
		beyond |= w
	}
	for ; i < len(data); i++ {
		c := data[i]
		if c < ' ' || c == '"' || c == '\\' {
			break
		}
		beyond |= uint64(c)
	}
	return i, beyond&tops == 0
}

// escapeLen returns the length of the escape that text starts with, 0 if it is
// none. Whether surrogates pair up is no question of syntax.
func escapeLen(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
	default:
		return 0
	}
	if len(text) < 6 {
		return 0
	}
	for _, c := range text[2:6] {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return 0
		}
	}
	return 6
}
