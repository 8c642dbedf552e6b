package chaos

import (
	"fmt"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// lateReply is how late a reply of the Streaming API may be here.
const lateReply = time.Minute

// bayeuxFault is a message of the Streaming API that goes wrong in a random way.
func bayeuxFault(c *chaos, channel string) string {
	r := c.random
	f := sfstreamtest.CometDFault{
		Kind:  pick(c, []string{"handshake", "connect", "connect", "subscribe", "unsubscribe", "disconnect", ""}),
		After: r.IntN(3), Times: 1 + r.IntN(2),
	}
	if r.IntN(2) == 0 && f.Kind != "handshake" {
		f.Channel = channel
	}
	switch r.IntN(11) {
	case 0:
		f.Error = pick(c, []string{
			"403::Unknown client", "402::Unknown client", "503::Server is too busy", "408:30000:Timeout", "429::Too many requests",
			"403::To protect all customers from excessive use",
		})
		if f.Kind == "" {
			f.Kind = "connect"
		}
	case 1:
		f.Status, f.Body = []int{500, 502, 503, 504, 408, 429}[r.IntN(6)], "<html>upstream connect error</html>"
	case 2:
		f.Status, f.Body = 200, "<html>a portal of a hotel</html>"
	case 3:
		f.Delay = c.some(lateReply)
	case 4:
		f.Pause = c.some(lateReply)
	case 5, 6:
		f.CutAfter = 1 + r.IntN(600)
	case 7:
		f.OmitReply = true
	case 8:
		f.ReplyFirst = true
	case 9:
		f.NoAnswer = true
	default:
		f.NoCookies = true
	}
	c.FailCometD(f)
	return strings.TrimPrefix(fmt.Sprintf("%+v", f), "sfstreamtest.")
}
