package jsonscan

// Skip passes over one value that nobody reads, of any kind and depth. In an object or array it counts brackets and knows
// strings, no more: in a text that is JSON that is enough to find the value's end, and the API server sends nothing
// else. In a text that is not, more may be passed over than a strict reader would.
func (s *Scanner) Skip() error {
	switch c := s.Peek(); c {
	case '"':
		_, err := s.skipString()
		return err
	case '{', '[':
		return s.skipNested()
	default:
		return s.skipWord(c)
	}
}

// skipNested passes over the object or array that is next.
func (s *Scanner) skipNested() error {
	depth := 0
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case '"':
			if _, err := s.skipString(); err != nil {
				return err
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.pos++
		if depth == 0 {
			return nil
		}
	}
	return s.fail("the end of an object or array")
}

// skipWord passes over true, false or null, or a number, whose first character is c.
func (s *Scanner) skipWord(c byte) error {
	for _, word := range [...]string{"true", "false", "null"} {
		if c != word[0] {
			continue
		}
		if end := s.pos + len(word); end <= len(s.data) && string(s.data[s.pos:end]) == word {
			s.pos = end
			return nil
		}
		return s.fail("a value")
	}
	start := s.pos
	for s.pos < len(s.data) && inNumber[s.data[s.pos]] {
		s.pos++
	}
	if s.pos == start {
		return s.fail("a value")
	}
	return nil
}

// inNumber holds the characters of numbers.
var inNumber = [256]bool{
	'+': true, '-': true, '.': true, 'e': true, 'E': true,
	'0': true, '1': true, '2': true, '3': true, '4': true, '5': true, '6': true, '7': true, '8': true, '9': true,
}
