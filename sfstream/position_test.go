package sfstream

import (
	"fmt"
	"testing"
	"time"
)

func TestSkipper(t *testing.T) {
	start := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	const platform, change = `{"payload":{"CreatedDate":"%s"}}`, `{"payload":{"ChangeEventHeader":{"commitTimestamp":"%s"}}}`
	for name, test := range map[string]struct {
		form  string
		after time.Duration // the date, from the start
		now   time.Duration // what Salesforce's clock shows, from the start
		exact bool
		want  bool
	}{
		"just before a start of the user's": {platform, -1, 0, true, true},
		"at it":                             {platform, 0, 0, true, false},
		"a publisher's clock may be wrong by an hour": {platform, -time.Hour, 0, false, false},
		"but not by more":                              {platform, -time.Hour - 1, 0, false, true},
		"Salesforce's differs by ten minutes":          {change, -10 * time.Minute, 0, false, false},
		"but not by more either":                       {change, -10*time.Minute - 1, 0, false, true},
		"a publisher's date in the future":             {platform, -time.Minute, -2 * time.Minute, true, false},
		"Salesforce's date, by a reading that is late": {change, -time.Minute, -2 * time.Minute, true, true},
		"older than anything that Salesforce retains":  {change, -74 * time.Hour, 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			date := start.Add(test.after).Format("2006-01-02T15:04:05.999999999Z07:00")
			m := &Message{codec: new(codec), payload: fmt.Appendf(nil, test.form, date)}
			s := skipper{before: start, exact: test.exact}
			if got := s.skips(m, start.Add(test.now)); got != test.want {
				t.Errorf("skips = %v, want %v", got, test.want)
			}
			if again := s.skips(m, start.Add(test.now)); again != test.want {
				t.Errorf("the next one: skips = %v, want %v", again, test.want)
			}
		})
	}
}
