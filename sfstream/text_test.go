package sfstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
)

func TestEnumsPrintAsText(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  string
	}{
		{StateLive, "live"}, {State(9), "State(9)"}, {NotFound, "NotFound"}, {Code(-1), "Code(-1)"}, {CometD, "CometD"}, {Transport(7), "Transport(7)"},
		{FallbackNew, "new"}, {EndGap, "EndGap"}, {AckManual, "AckManual"}, {AckPolicy(3), "AckPolicy(3)"},
	} {
		if got := fmt.Sprint(tt.value); got != tt.want {
			t.Errorf("%T prints as %s, want %s", tt.value, got, tt.want)
		}
		if text, err := json.Marshal(tt.value); err != nil || string(text) != `"`+tt.want+`"` {
			t.Errorf("%T in JSON: %s, %v", tt.value, text, err)
		}
		for _, handler := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(handler(&b)).Info("m", "value", tt.value)
			if !strings.Contains(b.String(), `"value":"`+tt.want+`"`) && !strings.Contains(b.String(), `value=`+tt.want+"\n") {
				t.Errorf("%T in the log: %s", tt.value, b.String())
			}
		}
	}
	if text, err := json.Marshal(ChannelStatus{State: StateParked}); err != nil || !bytes.Contains(text, []byte(`"State":"parked"`)) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestEnumsAreReadAsText(t *testing.T) {
	all := struct {
		State     State
		Code      Code
		Transport Transport
		Fallback  Fallback
		End       TransactionEnd
		Ack       AckPolicy
	}{StateParked, LimitExceeded, CometD, FallbackNew, EndQuiet, AckOnReceive}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	again := all
	again.State, again.Transport, again.Ack = 0, 0, 0
	if err := json.Unmarshal(text, &again); err != nil || again != all {
		t.Errorf("%s is read as %+v, %v", text, again, err)
	}
	for _, name := range []string{`"State(9)"`, `"Live"`, `""`, `"State(1)"`} {
		if err := json.Unmarshal([]byte(name), &again.State); err == nil || again.State != StateParked {
			t.Errorf("%s is %v (%v)", name, again.State, err)
		}
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	cause := errors.New("one\r\n\ttwo\x1b[31m\u2028three\u0085four")
	for _, err := range []error{
		&ServerError{API: apiCometD, Message: cause.Error()}, &ServerError{API: apiPubSub, Channel: "/event/X__e", err: cause},
		&AuthError{LoginURL: "https://x", err: cause}, &AuthError{Channel: "/event/X__e", err: cause},
		&ReplayError{Channel: "/event/X__e", err: cause}, &DecodeError{Channel: "/event/X__e", err: cause},
		&StoreError{Op: "save", err: cause}, &StoreError{Op: "load", Channel: "/event/X__e", err: cause},
		&TimeoutError{Channel: "/event/X__e", err: cause}, oneline.Join(cause, nil, io.EOF),
	} {
		if text := err.Error(); strings.ContainsFunc(text, unicode.IsControl) || strings.ContainsRune(text, '\u2028') {
			t.Errorf("%q", text)
		}
	}
}

// A ReplayError says what its *ServerError says, but for what it says itself.
func TestAReplayErrorSaysEachThingOnce(t *testing.T) {
	server := &ServerError{API: apiPubSub, Channel: "/event/X__e", Code: ReplayInvalid, Message: "The Replay ID validation failed.", RPCID: "7f"}
	text := (&ReplayError{Channel: "/event/X__e", Marker: replaystore.Marker{ReplayID: []byte{0, 1}}, err: server}).Error()
	for _, once := range []string{"/event/X__e", "The Replay ID validation failed.", "rpc id 7f", "WithReplayFallback", "From", "0001"} {
		if strings.Count(text, once) != 1 {
			t.Errorf("%q is not once in %s", once, text)
		}
	}
}
