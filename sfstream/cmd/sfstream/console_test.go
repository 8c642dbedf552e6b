package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// While a command waits for a dead host it says for which, and why.
func TestPatienceTellsWhatIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		c := newConsole(io.Discard, &out)
		var why atomic.Pointer[sfstream.ServerError]
		stop := c.patience("log in at https://acme.my.salesforce.com", func() error {
			if err := why.Load(); err != nil {
				return err
			}
			return nil
		})
		time.Sleep(firstPatience - time.Millisecond)
		synctest.Wait()
		c.mu.Lock() // it guards out
		if out.Len() > 0 {
			t.Errorf("said %q at once", &out)
		}
		c.mu.Unlock()
		time.Sleep(time.Second)
		why.Store(&sfstream.ServerError{API: "pubsub", Channel: "/event/Order__e", Code: sfstream.Unavailable,
			Message: `connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.1:443: i/o timeout"`})
		time.Sleep(morePatience)
		stop()
		want := "sfstream: still trying to log in at https://acme.my.salesforce.com, for 5s\n" +
			"sfstream: still trying to log in at https://acme.my.salesforce.com, for 20s: /event/Order__e: Unavailable: Error while dialing: dial tcp 10.0.0.1:443: i/o timeout; \"sfstream doctor\" looks for the cause\n"
		if out.String() != want {
			t.Errorf("said %s, want %s", &out, want)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if out.String() != want {
			t.Errorf("went on: %s", &out)
		}
	})
}

func TestTheJournalIsForPeople(t *testing.T) {
	var out bytes.Buffer
	j := newJournal(newConsole(io.Discard, &out), slog.LevelInfo)
	log := slog.New(j)
	j.hold()
	server := &sfstream.ServerError{API: "pubsub", Channel: "/event/X__e", Code: sfstream.PermissionDenied, Message: "no\x1b[2J access", RPCID: "7f"}
	log.Info("subscribing", "channel", "/event/X__e", "start", "new")
	if out.Len() > 0 {
		t.Errorf("held, and wrote %q", &out)
	}
	j.release()
	log.Warn("channel denied, trying on", "channel", "/event/X__e", "for", 10*time.Minute, "possible", false, "error", server)
	log.Error("client ended", "error", errors.New("it is the command's own"))
	log.Debug("details")
	log.With("channel", "/u/Ops").Info("connected again\u009b", "marker_time", time.Time{}, "possible", true)
	got := regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`).ReplaceAllString(out.String(), "T")
	want := "T /event/X__e: subscribing (start new)\n" +
		"T warning: /event/X__e: channel denied, trying on (for 10m0s): PermissionDenied: no [2J access (rpc id 7f); give the user Read on the event, or View All on the object\n" +
		"T /u/Ops: connected again\\u009b (marker time T, possible)\n"
	if got != strings.Replace(want, "marker time T", "marker time "+"0001-01-01 00:00:00", 1) && got != want {
		t.Errorf("wrote\n%s, want\n%s", got, want)
	}
	out.Reset()
	j = newJournal(newConsole(io.Discard, &out), slog.LevelDebug)
	j.hold()
	slog.New(j).Debug("details")
	if !strings.Contains(out.String(), "details") {
		t.Error("-v does not tell at once")
	}
}
