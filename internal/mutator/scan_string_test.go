package mutator

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// naiveStringEnd is what stringEnd does, byte by byte.
func naiveStringEnd(data []byte, i int) (end int, ascii bool) {
	ascii = true
	for ; i < len(data) && data[i] >= ' ' && data[i] != '"' && data[i] != '\\'; i++ {
		ascii = ascii && data[i] < 0x80
	}
	return i, ascii
}

func TestStringEndIsThatOfAByteByByteLoop(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []byte{'a', ' ', '!', '"', '#', '\\', ']', '[', 0, 1, 0x1f, 0x7f, 0x80, 0xa2, 0xdc, 0xff, '~', 'z'}
	for range 200_000 {
		data := make([]byte, random.IntN(40))
		for i := range data {
			data[i] = 'x'
			if random.IntN(6) == 0 {
				data[i] = alphabet[random.IntN(len(alphabet))]
			}
		}
		start := random.IntN(len(data) + 1)
		end, ascii := stringEnd(data, start)
		wantEnd, wantASCII := naiveStringEnd(data, start)
		if end != wantEnd || ascii != wantASCII {
			t.Fatalf("%q from %d: got %d, %v, want %d, %v", data, start, end, ascii, wantEnd, wantASCII)
		}
	}
}

// P6: the commonest slip on a Chinese keyboard.
func TestFullWidthPunctuationIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		`{“key”: "name"}`:           "expected a string, found '“', which is full-width: type \" instead",
		`{"key"："name"}`:            "expected a colon, found '：', which is full-width: type : instead",
		`{"key":"name"，"even":"a"}`: "expected a comma or the end of the object, found '，', which is full-width: type , instead",
		`｛"key":"name"}`:            "expected a value, found '｛', which is full-width: type { instead",
		"{\u3000\"key\":\"name\"}":  "found '\\u3000', which is full-width: type a space instead",
		`{"key":名}`:                 "expected a value, found '名'",
		"{\xff}":                    "expected a string, found the byte 0xff, which is no UTF-8",
		"{\"key\":\"name\"}\u00a0":  "expected the end of the text, found '\\u00a0'",
		"{\"key\":\"a\x01\"}":       "found '\\x01'",
	} {
		_, err := parseRule([]byte(text))
		if !errors.Is(err, errNotJSON) && !strings.Contains(text, "名") || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// BenchmarkString compares what a string costs that holds Chinese with an ASCII
// one of the same length.
func BenchmarkString(b *testing.B) {
	for name, unit := range map[string]string{"ascii": "abc", "chinese": "中"} {
		data := []byte(`"` + strings.Repeat(unit, 20_000) + `"`)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				s := scanner{data: data}
				if _, err := s.skipString(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
