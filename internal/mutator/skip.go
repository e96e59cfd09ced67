package mutator

// skip passes over one value of any kind and depth.
func (s *scanner) skip() error {
	floor := s.depth
	for {
		opened, err := s.skipStart()
		if err != nil {
			return err
		}
		if opened {
			continue
		}
		for { // a value has just ended
			if s.depth == floor {
				return nil
			}
			more, err := s.skipNext()
			if err != nil {
				return err
			}
			if more {
				break
			}
		}
	}
}

// skipStart passes over a scalar or an empty container, or over the opening of
// a container up to its first value; opened tells that a value must follow.
func (s *scanner) skipStart() (opened bool, err error) {
	switch c := s.peek(); c {
	case '"':
		_, err := s.skipString()
		return false, err
	case '{', '[':
		if err := s.open(c); err != nil {
			return false, err
		}
		s.setObject(c == '{')
		if s.peek() == c+2 { // in ASCII the closing bracket is two after the opening one
			return false, s.close()
		}
		if c == '{' {
			return true, s.skipName()
		}
		return true, nil
	case 't':
		return false, s.literal("true")
	case 'f':
		return false, s.literal("false")
	case 'n':
		return false, s.literal("null")
	default:
		return false, s.number()
	}
}

// skipNext passes over what stands between two values: a comma (and the next
// member's name), or the end of the innermost container. more tells that
// another value follows in it.
func (s *scanner) skipNext() (more bool, err error) {
	object := s.isObject()
	switch c := s.peek(); {
	case c == ',' && object:
		s.pos++
		return true, s.skipName()
	case c == ',':
		s.pos++
		return true, nil
	case c == '}' && object, c == ']' && !object:
		return false, s.close()
	}
	return false, s.fail("a comma or the end of the container")
}

func (s *scanner) skipName() error {
	if s.peek() != '"' {
		return s.fail("a member's name")
	}
	if _, err := s.skipString(); err != nil {
		return err
	}
	return s.colon()
}

// setObject notes of which kind the innermost open container is.
func (s *scanner) setObject(object bool) {
	word, bit := s.depth/64, uint64(1)<<(s.depth%64)
	if object {
		s.objects[word] |= bit
	} else {
		s.objects[word] &^= bit
	}
}

func (s *scanner) isObject() bool {
	return s.objects[s.depth/64]&(1<<(s.depth%64)) != 0
}

// literal consumes the word, whose first letter is next.
func (s *scanner) literal(word string) error {
	if end := s.pos + len(word); end <= len(s.data) && string(s.data[s.pos:end]) == word {
		s.pos = end
		return nil
	}
	return s.fail("a value")
}

// number passes over a number in the grammar of RFC 8259, section 6. Its value
// and range are nobody's business here.
func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.byteAt(s.pos) == '0' {
		s.pos++
	} else if s.digits() == 0 {
		return s.fail("a value")
	}
	if s.byteAt(s.pos) == '.' {
		s.pos++
		if s.digits() == 0 {
			return s.fail("a digit")
		}
	}
	if c := s.byteAt(s.pos); c != 'e' && c != 'E' {
		return nil
	}
	s.pos++
	if c := s.byteAt(s.pos); c == '+' || c == '-' {
		s.pos++
	}
	if s.digits() == 0 {
		return s.fail("a digit")
	}
	return nil
}

// digits passes over decimal digits and returns how many there were.
func (s *scanner) digits() int {
	start := s.pos
	for c := s.byteAt(s.pos); '0' <= c && c <= '9'; c = s.byteAt(s.pos) {
		s.pos++
	}
	return s.pos - start
}

// byteAt returns 0 beyond the end.
func (s *scanner) byteAt(i int) byte {
	if i < len(s.data) {
		return s.data[i]
	}
	return 0
}
