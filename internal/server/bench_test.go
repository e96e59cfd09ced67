package server

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkServe compares a kept-alive call through this package with one through a bare net/http server, in one process:
// ns/op and cpu-ns/op hold client and server alike, so that the difference of the two is what this package adds.
func BenchmarkServe(b *testing.B) {
	ca := newAuthority(b)
	_, bare := plainServer(b, ca, production.head, production.idle)
	for _, tc := range []struct{ name, addr string }{
		{"bare", bare.String()},
		{"ours", start(b, ca, nil).Addr().String()},
	} {
		b.Run(tc.name, func(b *testing.B) {
			c, body := newClient(b, ca), make([]byte, 6000)
			if _, err := post(c, "https://"+tc.addr+"/mutate", body); err != nil { // the handshake is not part of a call
				b.Fatal(err)
			}
			b.ReportAllocs()
			begin := cpu(b)
			for b.Loop() {
				resp, err := c.Post("https://"+tc.addr+"/mutate", "application/json", bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Fatalf("got %d", resp.StatusCode)
				}
			}
			b.ReportMetric(float64(cpu(b)-begin)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu returns the processor time that this process has used, in nanoseconds.
func cpu(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
