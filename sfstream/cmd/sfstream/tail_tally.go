package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// tally counts events, and tells how far tail is behind while it reads a backlog.
type tally struct {
	console *console
	client  *sfstream.Client
	began   time.Time

	mu     sync.Mutex
	counts map[string]count // by channel
}

// count is what became of the events of a channel.
type count struct{ printed, filtered int }

// behind is the lag from which on a channel has a backlog.
const behind = 10 * time.Second

func newTally(console *console, client *sfstream.Client) *tally {
	return &tally{console: console, client: client, began: time.Now(), counts: make(map[string]count)}
}

func (p *tally) add(channel string, printed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.counts[channel]
	if printed {
		n.printed++
	} else {
		n.filtered++
	}
	p.counts[channel] = n
}

func (p *tally) total() (n count) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, of := range p.counts {
		n.printed += of.printed
		n.filtered += of.filtered
	}
	return n
}

// watch shows the status line, once a second, until stop.
func (p *tally) watch() (stop func()) {
	before := 0
	return p.console.watch(func() string {
		n := p.total()
		all := n.printed + n.filtered
		status := backlog(p.client.Status(), all, all-before)
		before = all
		return status
	})
}

// backlog is the status line while a backlog is read, empty where there is none.
func backlog(status sfstream.Status, all, rate int) string {
	var lag time.Duration
	for _, channel := range status.Channels {
		lag = max(lag, channel.Lag)
	}
	if lag < behind {
		return ""
	}
	return fmt.Sprintf("%s events, %s/s, %s behind", thousands(int64(all)), thousands(int64(rate)), lag.Round(time.Second))
}

// summary says what was printed, and where the next run goes on if file keeps the markers.
func (p *tally) summary(status sfstream.Status, file string) (lines []string) {
	all := p.total()
	p.mu.Lock()
	defer p.mu.Unlock()
	lines = append(lines, fmt.Sprintf("sfstream: %s in %s", events(all), time.Since(p.began).Round(time.Second)))
	marks, channels := make(map[string]string), make(map[string]bool)
	for _, channel := range status.Channels {
		if file != "" && len(channel.ReplayID) > 0 {
			marks[channel.Channel] = fmt.Sprintf("; %s goes on after %s", file, replayid.Text(channel.ReplayID))
		}
		channels[channel.Channel] = true // also where it had no events
	}
	for channel := range p.counts {
		channels[channel] = true // also where it has ended
	}
	for _, channel := range slices.Sorted(maps.Keys(channels)) {
		lines = append(lines, fmt.Sprintf("  %s: %s%s", channel, events(p.counts[channel]), marks[channel]))
	}
	return lines
}

func events(n count) string {
	text := thousands(int64(n.printed)) + " events"
	if n.printed == 1 {
		text = "1 event"
	}
	if n.filtered > 0 {
		text += ", " + thousands(int64(n.filtered)) + " filtered out"
	}
	return text
}
