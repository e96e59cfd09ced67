package jsonscan

import (
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

// BenchmarkString compares what a string costs that holds Chinese with an ASCII
// one of the same length.
func BenchmarkString(b *testing.B) {
	for name, unit := range map[string]string{"ascii": "abc", "chinese": "中"} {
		data := []byte(`"` + strings.Repeat(unit, 20_000) + `"`)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				s := New(data)
				if _, err := s.skipString(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
