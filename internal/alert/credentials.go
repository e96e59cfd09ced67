package alert

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// defaultEndpoint is where a bare token is sent.
const defaultEndpoint = "https://oapi.dingtalk.com/robot/send"

// maxCredentialBytes bounds what is read of a credential file. A robot's URL has
// about 120 bytes.
const maxCredentialBytes = 8 << 10

// errOff says that no robot is configured; that is not a failure.
var errOff = errors.New("no robot is configured")

// bareToken is what stands in the URL file when only the token was pasted.
var bareToken = regexp.MustCompile(`^[A-Za-z0-9._~-]{8,512}$`)

// credentials are one robot's address and key as read from the files.
type credentials struct {
	host   string // for logs
	query  secret // the URL's query without timestamp and sign; holds the token
	base   string // the URL without its query
	token  secret
	secret secret // empty: calls are not signed

	signature secret // of the call that is being made
}

// signed reports whether calls are signed.
func (c credentials) signed() bool { return c.secret.reveal() != "" }

// isDingTalk reports whether the address is DingTalk's own, not a relay's.
func (c credentials) isDingTalk() bool {
	host, _, _ := strings.Cut(c.host, ":")
	return host == "dingtalk.com" || strings.HasSuffix(host, ".dingtalk.com")
}

// readCredentials reads the files anew. errOff means that the URL file is
// missing or empty; any other error names the file and never its content.
func readCredentials(f files, allowHTTP bool) (credentials, error) {
	address, err := readTrimmed(f.url)
	if err != nil {
		return credentials{}, err
	}
	if address == "" {
		return credentials{}, errOff
	}
	c, err := parseRobot(address, allowHTTP)
	if err != nil {
		return credentials{}, fmt.Errorf("parse robot URL in %s: %w", f.url, err)
	}
	key, err := readTrimmed(f.secret)
	if err != nil {
		return credentials{}, err
	}
	c.secret = newSecret(key)
	return c, nil
}

// readTrimmed returns the file's text without surrounding white space; a missing
// file is empty.
func readTrimmed(name string) (string, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read credential: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxCredentialBytes+1))
	if err != nil {
		return "", fmt.Errorf("read credential: %w", err)
	}
	if len(text) > maxCredentialBytes {
		return "", fmt.Errorf("read credential %s: longer than %d bytes", name, maxCredentialBytes)
	}
	return strings.TrimSpace(string(text)), nil
}

// parseRobot accepts a full URL or a bare token. Its errors hold no part of the text.
func parseRobot(text string, allowHTTP bool) (credentials, error) {
	if !strings.Contains(text, "://") {
		if !bareToken.MatchString(text) {
			return credentials{}, errors.New("neither a URL nor a bare token of letters, digits and -._~")
		}
		text = defaultEndpoint + "?access_token=" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return credentials{}, errors.New("not a valid URL")
	}
	query, err := url.ParseQuery(u.RawQuery)
	switch {
	case err != nil:
		return credentials{}, errors.New("its query is not valid")
	case u.Scheme != "https" && (u.Scheme != "http" || !allowHTTP):
		return credentials{}, errors.New("https is required; --dingtalk-allow-http permits http")
	case u.Hostname() == "" || u.User != nil || u.Fragment != "":
		return credentials{}, errors.New("a host is required, user information and a fragment are not allowed")
	case query.Get("access_token") == "":
		return credentials{}, errors.New("the query parameter access_token is missing")
	}
	query.Del("timestamp")
	query.Del("sign")
	u.RawQuery = ""
	return credentials{
		host:  u.Host,
		base:  u.String(),
		query: newSecret(query.Encode()),
		token: newSecret(query.Get("access_token")),
	}, nil
}

// requestURL returns the address of one call, signed for now, and the signature in it.
func (c credentials) requestURL(now time.Time) (address, signature string) {
	address = c.base + "?" + c.query.reveal()
	if !c.signed() {
		return address, ""
	}
	ms := now.UnixMilli()
	signature = sign(ms, c.secret.reveal())
	return address + "&timestamp=" + strconv.FormatInt(ms, 10) + "&sign=" + url.QueryEscape(signature), signature
}

// sign returns base64(HMAC-SHA256(key, "<ms>\n<key>")), not yet URL-encoded, as
// DingTalk's page on custom robots defines it.
func sign(ms int64, key string) string {
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = fmt.Fprintf(mac, "%d\n%s", ms, key) // a hash never fails to write
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// hide removes the credentials and the signature of the call from a text of someone
// else, in every form in which a URL may carry them.
func (c credentials) hide(text string) string {
	hidden := []string{c.query.reveal()}
	for _, s := range []secret{c.token, c.secret, c.signature} {
		hidden = append(hidden, s.reveal(), url.QueryEscape(s.reveal()), url.PathEscape(s.reveal()))
	}
	return scrub(text, hidden...)
}
