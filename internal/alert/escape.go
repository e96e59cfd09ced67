package alert

import (
	"strings"
	"unicode"
)

// broken follows a sign that must not act: a zero-width space keeps the reader's
// view and breaks the machine's pattern.
const broken = "\u200b"

// plain makes an untrusted text fit for one line of a message: valid UTF-8, no
// control, line or direction characters, no @ that could call somebody and no
// address that would become a link.
func plain(s string) string {
	return escape(s, func(rune) string { return "" })
}

// escapeMarkdown is plain for a markdown message. Signs of markdown get a
// backslash. Since DingTalk's renderer is not specified, what makes links and
// entities is broken apart as well: "](" and "&".
func escapeMarkdown(s string) string {
	return escape(s, func(r rune) string {
		switch r {
		case '\\', '`', '*', '_', '[', '<', '>', '~':
			return `\` + string(r)
		case ']', '&':
			return `\` + string(r) + broken
		}
		return ""
	})
}

// escape maps each rune of s: control characters vanish or become a space, @ is
// broken, others are what extra says or, if that is empty, themselves.
func escape(s string, extra func(rune) string) string {
	var out strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch instead := extra(r); {
		case r == '@' || r == '\uFF20': // the wide form calls people as well
			out.WriteRune(r)
			out.WriteString(broken)
		case r == '\n' || r == '\r' || r == '\t' || r == '\u2028' || r == '\u2029':
			out.WriteByte(' ')
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r): // Cf holds the direction marks
		case instead != "":
			out.WriteString(instead)
		default:
			out.WriteRune(r)
		}
	}
	return strings.ReplaceAll(out.String(), "://", ":"+broken+"//")
}
