package main

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/sfstream/sfstream-go/replaystore"
)

// listMarkers prints a table.
func listMarkers(w io.Writer, markers iter.Seq2[replaystore.Key, replaystore.Marker], now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CHANNEL\tAPI\tORG\tREPLAY ID\tDATE\tAGE\tLEFT")
	for key, marker := range markers {
		id, date, age, left := idText(key.API, marker.ReplayID), "-", "-", "-"
		if id == "" {
			id = "-"
		}
		if len(marker.Group.ReplayID) > 0 {
			id += fmt.Sprintf(" and %d of %s", len(marker.Group.Handled), idText(key.API, marker.Group.ReplayID))
		}
		if at := eventDate(marker); !at.IsZero() {
			date, age = at.UTC().Format("2006-01-02T15:04:05Z"), span(now.Sub(at))
		}
		if d, known := timeLeft(key, marker, now); known {
			if left = "none"; d > 0 {
				left = span(d)
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", key.Channel, key.API, key.OrgID, id, date, age, left)
	}
	return table.Flush()
}

// printMarkers prints a JSON object for each marker, with its age and the time left if now is
// given.
func printMarkers(w io.Writer, markers iter.Seq2[replaystore.Key, replaystore.Marker], now *time.Time) error {
	for key, marker := range markers {
		if !utf8.ValidString(key.Channel + key.OrgID + key.API) {
			return fmt.Errorf("%q is not text in UTF-8, and cannot be printed as JSON", key.Channel)
		}
		line := lineOf(key, marker)
		if now != nil {
			if at := eventDate(marker); !at.IsZero() {
				line.AgeSeconds = new(int64(now.Sub(at) / time.Second))
			}
			if d, known := timeLeft(key, marker, *now); known {
				line.LeftSeconds = new(int64(max(d, 0) / time.Second))
			}
		}
		text, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("the marker of %s: %w", key.Channel, err)
		}
		if _, err := w.Write(append(text, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// eventDate returns the date of the place where the marker is: of its event; or without one the
// time at which the channel begins.
func eventDate(marker replaystore.Marker) time.Time {
	if len(marker.ReplayID) == 0 {
		return marker.Live
	}
	return marker.Date
}

// timeLeft returns for how long a start at the marker loses nothing. It is not known of a marker
// without times.
func timeLeft(key replaystore.Key, marker replaystore.Marker, now time.Time) (left time.Duration, known bool) {
	since, kept := eventDate(marker), 72*time.Hour
	if usualAPI(key.Channel) == apiStreaming {
		kept = 24 * time.Hour
	}
	// Until Live nothing came that is missing. The markers that old releases saved for the
	// Streaming API have a Live that says less, and no Followed.
	if sound := key.API != apiStreaming || !marker.Followed.IsZero(); sound && marker.Live.After(since) {
		since = marker.Live
	}
	return since.Add(kept).Sub(now), !since.IsZero()
}

// span prints a duration in its two largest units: 3d4h, 5h12m, 12m30s.
func span(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%s%dd%dh", sign, d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%s%dh%dm", sign, d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%s%dm%ds", sign, d/time.Minute, d%time.Minute/time.Second)
}
