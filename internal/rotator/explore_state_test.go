package rotator

import (
	"strconv"
	"time"
)

// The explorer's states. Everything is a small number, so that a state is one
// comparable value: certificates, contents of the Secret and caBundles are numbered
// in the tables of a model as they are first seen.

// A day (of years_test.go) is what --ca-overlap and the lag of an apiserver are bounded by. A CA is
// replaced on its third day and a leaf on its second.
const (
	members  = 3    // replicas
	limit    = 16   // certificates made in one run; more means: without end
	outsider = 1000 // numbers of CAs that no replica of ours made begin here
)

var (
	explorePolicy = Policy{CADuration: 3 * day, CertDuration: 36 * time.Hour, CAOverlap: day, RotationCheck: time.Minute}
	firstDay      = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
)

// modelCA is a CA; its index in model.cas is its id, 0 is none.
type modelCA struct {
	number int16
	born   uint8 // the day on which it was made
}

// chain is a leaf and its bridges; index 0 of model.chains is none.
type chain struct {
	signer  uint16
	bridges [maxBridges][2]uint16 // {the CA whose key is certified, the CA that certifies it}
	serial  int16
	born    uint8
}

// content is a Secret's content that parses; model.contents numbers them from firstContent on.
type content struct {
	trusted    [1 + maxOldCAs]uint16 // CAs; the first one signs
	chain      uint16
	generation uint32
	request    uint8
	changed    bool // a field of the record that decide does not know was changed
}

// What a Secret can hold beside contents.
const (
	missing uint16 = iota
	blank
	damaged
	firstContent
)

// caBundle is a list of CAs; 0 of model.bundles is empty, or junk.
type caBundle [1 + maxOldCAs]uint16

const emptyBundle uint16 = 0

// clock says how far a timer has run.
type clock uint8

const (
	stopped clock = iota
	running
	over
)

// member is one process of the Deployment, its loopState included.
type member struct {
	memory, serving        uint16 // a content, a chain; 0 for none
	ready                  bool
	waiting, mismatched    clock // waitSince, mismatched of the loop's state
	cutOff, silent         bool  // silent: it has not heard from the apiserver for a minute
	heldSecret, heldConfig bool
	offline                bool // the apiserver cannot be reached
	excused                bool // it was slower than the promises allow
	pass                   pass
}

// pass is a pass of the loop that is under way: the objects that it has read so
// far, and the write that it will do.
type pass struct {
	stage                    uint8 // 0: none; 1: one object was read; 2: both were, and it has decided
	hasSecret, hasBundle     bool
	secret, bundle           uint16
	request                  uint8
	secretMoved, bundleMoved bool // changed since they were read, so an update will conflict
	writes                   writeKind
}

// writeKind numbers the kinds that write.
type writeKind uint8

var writeKinds = []kind{"", restore, create, rotate, distrust, retire, renew, inject}

// modelState is one state of everything.
type modelState struct {
	secret, lastSecret         uint16 // lastSecret and lastBundle: before the last change
	bundle, lastBundle         uint16
	view                       uint16 // what a kube-apiserver that lags takes for the caBundle
	bundleDamaged, viewDamaged bool   // somebody else wrote no CA of ours into it
	secretLags, bundleLags     bool   // caches may still hold the one before
	request                    uint8  // on the Secret; 0 none, odd rotate, even distrust
	today, made                uint8
	refusesSecret, refusesConf bool
	distrusted                 uint64 // CAs, a set
	relapsed                   bool   // one of them was put back into the caBundle by a replica
	requests                   uint8  // requests so far
	left                       uint8  // outside events that may still come
	replicas                   [members]member
}

// canonical exchanges the replicas, who are all alike, into one fixed order.
func (s modelState) canonical() modelState {
	r := &s.replicas
	for _, p := range [...][2]int{{0, 1}, {1, 2}, {0, 1}} {
		if r[p[1]].less(&r[p[0]]) {
			r[p[0]], r[p[1]] = r[p[1]], r[p[0]]
		}
	}
	return s
}

func (r *member) key() (k [2]uint64) {
	bit := func(b bool, at uint) uint64 {
		if b {
			return 1 << at
		}
		return 0
	}
	k[0] = uint64(r.memory) | uint64(r.serving)<<16 | uint64(r.waiting)<<32 | uint64(r.mismatched)<<34 |
		bit(r.ready, 36) | bit(r.cutOff, 37) | bit(r.silent, 38) | bit(r.heldSecret, 39) | bit(r.heldConfig, 40) | bit(r.offline, 41) | bit(r.excused, 42)
	p := &r.pass
	k[1] = uint64(p.stage) | uint64(p.writes)<<4 | uint64(p.request)<<8 | uint64(p.secret)<<16 | uint64(p.bundle)<<32 |
		bit(p.secretMoved, 48) | bit(p.bundleMoved, 49) | bit(p.hasSecret, 50) | bit(p.hasBundle, 51)
	return k
}

func (r *member) less(o *member) bool {
	a, b := r.key(), o.key()
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}

// table numbers values in the order in which they are first seen.
type table[T comparable] struct {
	values []T
	index  map[T]uint16
}

func newTable[T comparable](reserved int) *table[T] {
	return &table[T]{values: make([]T, reserved), index: map[T]uint16{}}
}

func (t *table[T]) number(v T) uint16 {
	n, ok := t.index[v]
	if !ok {
		n = uint16(len(t.values))
		if int(n) != len(t.values) {
			panic("the explorer ran out of numbers")
		}
		t.values, t.index[v] = append(t.values, v), n
	}
	return n
}

// model holds the tables and the rules of one exploration.
type model struct {
	rules
	events    event  // that may happen
	first     uint16 // the content with which the fleet begins
	cas       *table[modelCA]
	chains    *table[chain]
	contents  *table[content]
	bundles   *table[caBundle]
	decisions map[question]kind // of decide, remembered
	verified  map[[3]uint16]bool
	bundlesOf []uint16   // of contents
	summaries []*summary // of contents
}

func newModel(r rules) *model {
	m := &model{
		rules: r, cas: newTable[modelCA](1), chains: newTable[chain](1), contents: newTable[content](int(firstContent)),
		bundles: newTable[caBundle](1), decisions: map[question]kind{}, verified: map[[3]uint16]bool{},
	}
	m.cas.values[0].number = -1
	return m
}

func dayAt(n uint8) time.Time { return firstDay.Add(time.Duration(n) * day) }

func (m *model) expires(id uint16) time.Time {
	return dayAt(m.cas.values[id].born).Add(explorePolicy.CADuration)
}

// summary is what parseKeyring would make of a content; nil when it would fail.
func (m *model) summary(id uint16) *summary {
	for int(id) >= len(m.summaries) {
		m.summaries = append(m.summaries, m.summarize(uint16(len(m.summaries))))
	}
	return m.summaries[id]
}

func (m *model) summarize(id uint16) *summary {
	if id < firstContent {
		return nil
	}
	c := m.contents.values[id]
	s := &summary{digest: strconv.Itoa(int(id)), record: record{Format: 1, Generation: c.generation, Request: requestID(c.request)}}
	for _, id := range c.trusted {
		if id != 0 {
			s.trusted = append(s.trusted, ca{id: strconv.Itoa(int(id)), created: dayAt(m.cas.values[id].born), expires: m.expires(id)})
		}
	}
	if c.chain != 0 {
		s.leafCreated = dayAt(m.chains.values[c.chain].born)
		s.leafExpires = m.leafExpires(c.chain)
	}
	return s
}

func (m *model) leafExpires(id uint16) time.Time {
	c := m.chains.values[id]
	return earlier(dayAt(c.born).Add(explorePolicy.CertDuration), m.expires(c.signer))
}

func requestID(n uint8) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(int(n))
}

// bundleOf is what belongs into the webhook configurations beside a content.
func (m *model) bundleOf(id uint16) uint16 {
	for int(id) >= len(m.bundlesOf) {
		m.bundlesOf = append(m.bundlesOf, m.bundles.number(caBundle(m.contents.values[len(m.bundlesOf)].trusted)))
	}
	return m.bundlesOf[id]
}

// certifiedBy is keyring.certifiedBy.
func (m *model) certifiedBy(id uint16, cas caBundle) bool {
	if id < firstContent {
		return false
	}
	c := m.contents.values[id]
	bridges := m.chains.values[c.chain].bridges
	if m.descentIgnoresBridges {
		bridges = [maxBridges][2]uint16{}
	}
	return m.leads(cas, bridges, c.trusted[0], func(uint16) bool { return true })
}

// bit stands for a CA in a set: numbers are unique within a state.
func (m *model) bit(id uint16) uint64 {
	n := m.cas.values[id].number
	if n >= outsider {
		n -= outsider - limit
	}
	return 1 << (n + 1)
}

// leads reports whether bridges lead from one of these CAs to a CA, over valid CAs only.
func (m *model) leads(from caBundle, bridges [maxBridges][2]uint16, to uint16, valid func(uint16) bool) bool {
	var known uint64
	for _, id := range from {
		if id != 0 && valid(id) {
			known |= m.bit(id)
		}
	}
	for range bridges {
		for _, b := range bridges {
			if b[0] != 0 && known&m.bit(b[1]) != 0 && valid(b[1]) && valid(b[0]) {
				known |= m.bit(b[0])
			}
		}
	}
	return known&m.bit(to) != 0
}

// verifies is verifies of keys.go: does an apiserver with this caBundle accept the chain?
func (m *model) verifies(bundle, served uint16, today uint8) bool {
	key := [3]uint16{bundle, served, uint16(today)}
	result, ok := m.verified[key]
	if !ok && served != 0 {
		c, now := m.chains.values[served], dayAt(today)
		valid := func(id uint16) bool { return now.Before(m.expires(id)) }
		result = now.Before(m.leafExpires(served)) && m.leads(m.bundles.values[bundle], c.bridges, c.signer, valid)
		m.verified[key] = result
	}
	return result
}
