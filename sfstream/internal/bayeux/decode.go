package bayeux

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/internal/jsonscan"
)

const (
	// slabEvents is how many events next returns at most.
	slabEvents = 256

	firstBuffer = 4 << 10
	fullBuffer  = 128 << 10

	// partOfSecret is how many bytes of a secret's beginning are themselves a secret.
	partOfSecret = 8

	// maxReplies bounds the replies in one response. A request of MaxRequest bytes has far fewer
	// messages.
	maxReplies = 4096

	// maxMessage is the largest message in bytes, far above the 1 MB of Salesforce's largest event.
	maxMessage = 64 << 20
)

var errNotJSON = errors.New("bayeux: the reply is not a list of messages")

// decoder reads a response as it comes. It reads bytes once, into a buffer that the events then
// keep: it never writes again to the part of a buffer that events lie in.
type decoder struct {
	r    io.Reader
	buf  []byte
	pos  int // where in buf the part begins that is not decoded yet
	size int // the size of the next buffer

	begun, ended bool
	list         bool // the response is an array of messages, as it should be

	raw     func(channel string, message []byte) // Session.Raw
	secret  string                               // the token, which no error may show
	replies []Reply
	channel string // the channel of the last event, which is mostly that of the next one too
}

func newDecoder(r io.Reader, length int64, secret string) *decoder {
	size := int64(firstBuffer)
	if length > 0 {
		size = min(length+1, fullBuffer) // + 1, so that the end can be seen without another buffer
	}
	return &decoder{r: r, size: int(size), secret: secret}
}

// next returns the next events: at least one, at most slabEvents. After the end of the response the
// error is io.EOF. Replies are added to d.replies.
func (d *decoder) next() ([]Event, error) {
	if !d.begun {
		if err := d.begin(); err != nil {
			return nil, err
		}
	}
	var events []Event
	for !d.ended {
		element, err := d.element(len(events) > 0)
		switch {
		case err != nil:
			return events, err // events that are complete before the connection breaks count
		case element == nil && len(events) > 0 && !d.ended:
			return events, nil // the next events are in another buffer: those of one slab share one
		case element == nil:
			continue
		}
		if len(d.replies) > maxReplies {
			return events, fmt.Errorf("%w: it has more than %d answers", errNotJSON, maxReplies)
		}
		if event, ok := d.take(element); ok {
			if events == nil {
				events = make([]Event, 0, slabEvents)
			}
			if events = append(events, event); len(events) == slabEvents {
				return events, nil
			}
		}
	}
	if len(events) > 0 {
		return events, nil
	}
	if _, err := io.Copy(io.Discard, d.r); err != nil { // drained, so that the connection can be used again
		return nil, err
	}
	return nil, io.EOF
}

// begin reads up to the first message.
func (d *decoder) begin() error {
	for {
		d.pos = jsonscan.Space(d.buf, d.pos)
		if d.pos < len(d.buf) {
			break
		}
		if err := d.fill(); err != nil {
			return whole(err)
		}
	}
	d.begun = true
	switch d.buf[d.pos] {
	case '[':
		d.list = true
		d.pos++
	case '{':
	default:
		return fmt.Errorf("%w: it begins with %q", errNotJSON, start(d.buf[d.pos:], 100, d.secret))
	}
	return nil
}

// element returns the next message of the list, or nil at its end. With yield it also returns nil
// when it has to go on in another buffer, so that the events in the old one are handed on first.
func (d *decoder) element(yield bool) ([]byte, error) {
	var b jsonscan.Border
	from := d.pos
	started := false
	for {
		if !started {
			d.pos = jsonscan.Space(d.buf, d.pos)
			if d.pos < len(d.buf) && d.buf[d.pos] == ',' {
				d.pos = jsonscan.Space(d.buf, d.pos+1)
			}
			if d.pos < len(d.buf) {
				switch c := d.buf[d.pos]; {
				case c == ']' && d.list:
					d.ended = true
					return nil, nil
				case c != '{':
					return nil, fmt.Errorf("%w: %q", errNotJSON, start(d.buf[d.pos:], 100, d.secret))
				}
				started, from = true, d.pos
			}
		}
		if started {
			if end := b.Find(d.buf, from); end >= 0 {
				element := d.buf[d.pos:end:end]
				d.pos = end
				d.ended = !d.list
				return element, nil
			}
			from = len(d.buf)
		}
		if len(d.buf) == cap(d.buf) {
			moved := d.pos
			d.grow()
			from -= moved
			if yield {
				return nil, nil
			}
		}
		if err := d.fill(); err != nil {
			return nil, whole(err)
		}
	}
}

// whole returns the error of a response that ends too early.
func whole(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fill reads once into the buffer.
func (d *decoder) fill() error {
	if len(d.buf) == cap(d.buf) {
		d.grow()
	}
	if len(d.buf)-d.pos > maxMessage {
		return fmt.Errorf("bayeux: a message of more than %d bytes", maxMessage)
	}
	n, err := d.r.Read(d.buf[len(d.buf):cap(d.buf)])
	d.buf = d.buf[:len(d.buf)+n]
	if n > 0 {
		return nil // the next Read returns the error again
	}
	return err
}

// grow goes on in a new buffer, into which it copies what is not decoded yet.
func (d *decoder) grow() {
	rest := d.buf[d.pos:]
	size := max(d.size, 2*len(rest))
	d.size = min(2*size, fullBuffer)
	d.buf = append(make([]byte, 0, size), rest...)
	d.pos = 0
}

// take decodes a message. If it is an event take returns it and true; else take adds it to the
// replies.
func (d *decoder) take(element []byte) (Event, bool) {
	var e Event
	var channel, data []byte
	for f := jsonscan.NewFields(element); f.Next(); {
		switch string(f.Key) {
		case "channel":
			channel = f.Value
		case "data":
			data = f.Value
		}
	}
	if len(channel) > 2 && string(channel[1:len(channel)-1]) == d.channel {
		e.Channel = d.channel
	} else {
		e.Channel = jsonscan.Text(channel)
	}
	if d.raw != nil {
		d.raw(e.Channel, element)
	}
	if data == nil || isMeta(e.Channel) {
		reply := readReply(element)
		if !reply.Successful && reply.Error == "" && reply.FailureReason == "" && reply.Message == "" {
			reply.Start = start(element, maxStart, d.secret)
		}
		d.replies = append(d.replies, reply)
		return Event{}, false
	}
	d.channel = e.Channel
	e.Data = data
	return e, true
}

// start returns the beginning of a text that a server wrote, with the secret taken out.
func start(text []byte, length int, secret string) string {
	cut := string(text[:min(len(text), length+len(secret))])
	cut = Hide(cut, secret)
	for _, part := range forms(secret) {
		for n := min(len(part), len(cut)); n >= partOfSecret; n-- { // the cut may be in the middle of a secret, so that its beginning would show
			if strings.HasSuffix(cut, part[:n]) {
				cut = cut[:len(cut)-n] + "…"
				break
			}
		}
	}
	return cut[:min(len(cut), length)]
}

// Hide takes a secret out of a text. Some servers repeat what they were sent, also in URLs and
// other texts in which it is escaped.
func Hide(text, secret string) string {
	for _, part := range forms(secret) {
		text = strings.ReplaceAll(text, part, "…")
	}
	return text
}

// forms returns the strings that must not show for a secret. A token of Salesforce is an org id,
// "!" and the secret part. Escaping, of whatever kind, changes the "!" only, so that the part after
// it is found by itself.
func forms(secret string) []string {
	if secret == "" {
		return nil
	}
	if _, tail, ok := strings.Cut(secret, "!"); ok && len(tail) >= partOfSecret {
		return []string{secret, tail}
	}
	return []string{secret}
}

func isMeta(channel string) bool { return len(channel) > 6 && channel[:6] == "/meta/" }

func readReply(element []byte) Reply {
	var r Reply
	for f := jsonscan.NewFields(element); f.Next(); {
		switch string(f.Key) {
		case "channel":
			r.Channel = jsonscan.Text(f.Value)
		case "id":
			r.ID = jsonscan.Text(f.Value)
		case "clientId":
			r.ClientID = jsonscan.Text(f.Value)
		case "subscription":
			r.Subscription = jsonscan.Text(f.Value)
		case "successful":
			r.Successful = jsonscan.Text(f.Value) == "true"
		case "error":
			r.Error = jsonscan.Text(f.Value)
		case "errorCode": // an error of the REST API: it has no channel
			if r.Error == "" {
				r.Error = jsonscan.Text(f.Value)
			}
		case "message":
			r.Message = jsonscan.Text(f.Value)
		case "advice":
			_ = r.Advice.UnmarshalJSON(f.Value) // UnmarshalJSON never fails
		case "ext":
			var ext struct {
				SFDC struct {
					FailureReason string `json:"failureReason"`
				} `json:"sfdc"`
			}
			_ = json.Unmarshal(f.Value, &ext) // an ext with another shape is not Salesforce's, and counts as none
			r.FailureReason = ext.SFDC.FailureReason
		}
	}
	return r
}
