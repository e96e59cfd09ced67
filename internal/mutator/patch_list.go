package mutator

// list writes operations that put elements into an array of the pod: one for
// each if the array exists, and one for all of them, with the parents that are
// missing, if it does not.
type list struct {
	patch       *patch
	exists      bool
	open, close string // around the element, or around the array of them
	opened      bool
}

// next opens the place for one more element.
func (l *list) next() {
	switch {
	case l.exists:
		l.closeOne()
		l.patch.open("add", l.open+`/-","value":`)
	case !l.opened:
		l.patch.open("add", l.open+"[")
	default:
		l.patch.raw(",")
	}
	l.opened = true
}

// closeOne closes the operation of an element of an array that exists.
func (l *list) closeOne() {
	if l.opened {
		l.patch.raw("}")
	}
}

// end closes what next has opened.
func (l *list) end() {
	switch {
	case l.exists:
		l.closeOne()
	case l.opened:
		l.patch.raw("]" + l.close)
	}
}
