package rest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// received is the header of the next change event.
func received(l *lab.Lab) *sfstream.ChangeEvent {
	l.T.Helper()
	change, err := l.Receive().Change()
	l.Must(err)
	return change
}

func TestRefetchReadsWhatAGapNames(t *testing.T) {
	for _, page := range []int{2000, 70} {
		synctest.Test(t, func(t *testing.T) {
			l := lab.New(t, sfstreamtest.WithQueryPage(page))
			accounts(l, 450)
			l.Start()
			l.Subscribe(lab.Accounts)
			var ids, want []string
			for i := 449; i >= 0; i-- {
				id := accountID(i)
				ids = append(ids, id)
			}
			ids = append(ids, accountID(3), accountID(4)[:15]) // again
			_, err := l.Change(sfstreamtest.Change{Object: "Account", Type: "GAP_UPDATE", RecordIDs: ids})
			l.Must(err)
			for _, id := range ids[:450] {
				if strings.Contains(id, "7") {
					l.SetRecord("Account", id, map[string]any{"IsDeleted": true})
					id = "deleted " + id
				}
				want = append(want, id)
			}
			change := received(l)
			if !change.IsGap() || len(change.RecordIDs) < 450 {
				t.Fatalf("%+v", change)
			}
			got, err := take(t, l.Client.Refetch(t.Context(), change))
			lab.Must(t, err)
			lab.ExpectIDs(t, got, want)

			for record, err := range l.Client.Refetch(t.Context(), change) {
				lab.Must(t, err)
				var account struct {
					Name              string
					NumberOfEmployees int
					SystemModstamp    time.Time
				}
				if err := record.Decode(&account); err != nil || account.Name != "Account 449" || account.NumberOfEmployees != 449 || account.SystemModstamp.IsZero() {
					t.Errorf("%+v, %v", account, err)
				}
				break
			}
		})
	}
}

func TestRefetchTellsDeletions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		accounts(l, 2)
		l.Start()
		l.Subscribe(lab.Accounts)
		_, err := l.Change(sfstreamtest.Change{Object: "Account", Type: "GAP_DELETE", RecordIDs: []string{accountID(0), accountID(1), accountID(9)}})
		l.Must(err)
		l.SetRecord("Account", accountID(0), map[string]any{"IsDeleted": true})
		l.SetRecord("Account", accountID(1), map[string]any{"IsDeleted": false}) // somebody has undeleted it
		got, err := take(t, l.Client.Refetch(t.Context(), received(l)))
		lab.Must(t, err)
		lab.ExpectIDs(t, got, []string{"deleted " + accountID(0), accountID(1), "deleted " + accountID(9)})
	})
}

// TestRefetchAfterAnOverflow: all that was modified, over several requests, and what was deleted.
func TestRefetchAfterAnOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		accounts(l, 1000)
		for i := range 1000 {
			l.SetRecord("Account", accountID(2000+i), map[string]any{"IsDeleted": true})
		}
		l.Start()
		l.Subscribe(lab.Accounts)
		l.Pass(time.Hour)
		var want, gone []string
		for i := 100; i < 1000; i += 2 { // 450 records
			if i%10 == 0 {
				l.SetRecord("Account", accountID(i), map[string]any{"IsDeleted": true})
				gone = append(gone, "deleted "+accountID(i))
				continue
			}
			l.SetRecord("Account", accountID(i), map[string]any{"NumberOfEmployees": 7})
			want = append(want, accountID(i))
		}
		time.Sleep(5 * time.Minute) // a long transaction
		_, err := l.Change(sfstreamtest.Change{Object: "Account", Type: "GAP_OVERFLOW", RecordIDs: []string{"000000000000000AAA"}})
		l.Must(err)
		change := received(l)
		got, err := take(t, l.Client.Refetch(t.Context(), change))
		lab.Must(t, err)
		if n := len(got); n < len(gone) {
			t.Fatalf("%d records", n)
		}
		deleted := got[len(got)-len(gone):]
		slices.Sort(deleted)
		lab.ExpectIDs(t, got[:len(got)-len(gone)], want)
		lab.ExpectIDs(t, deleted, gone)

		// The object is one of whose deletions nothing is known: the records come first.
		l.FailRESTRequest(sfstreamtest.RESTFault{Path: "/deleted", Code: "INVALID_REPLICATION_DATE"})
		got, err = take(t, l.Client.Refetch(t.Context(), change))
		if e := lab.ExpectError[*sfstream.ServerError](t, err); len(got) != len(want) || e.Reason != "INVALID_REPLICATION_DATE" {
			t.Errorf("%d, %v", len(got), err)
		}

		// A loop may end anywhere.
		for _, after := range []int{1, 200, 201, len(want), len(want) + 1} {
			n := 0
			for range l.Client.Refetch(t.Context(), change) {
				if n++; n == after {
					break
				}
			}
			if n != after {
				t.Errorf("%d, want %d", n, after)
			}
		}
	})
}

// TestRefetchOfAllRecords: a conversion names them by their prefix.
func TestRefetchOfAllRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		accounts(l, 400) // twice the records of a request
		l.SetRecord("Account", accountID(5), map[string]any{"IsDeleted": true})
		l.SetRecord("Account", accountID(400), map[string]any{"Name": "another one"})
		c := l.Start()
		got, err := take(t, c.Refetch(t.Context(), &sfstream.ChangeEvent{EntityName: "Account", RecordIDs: []string{"001*"}, Type: sfstream.ChangeGapUpdate}))
		lab.Must(t, err)
		if len(got) != 400 || slices.Contains(got, accountID(5)) || !slices.IsSorted(got) {
			t.Errorf("%d records", len(got))
		}
	})
}

func TestRefetchOutlivesWhatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		accounts(l, 300)
		c := l.Start(constant())
		change := &sfstream.ChangeEvent{EntityName: "Account", RecordIDs: []string{"000000000000000AAA"}, Type: sfstream.ChangeGapOverflow, CommitTime: time.Now()}
		for _, fault := range []sfstreamtest.RESTFault{{Code: "INVALID_SESSION_ID"}, {Times: 2}, {Status: 503, Times: 2}, {Path: "/deleted", Status: 504}} {
			l.FailRESTRequest(fault)
			if got, err := take(t, c.Refetch(t.Context(), change)); err != nil || len(got) != 300 {
				t.Errorf("%+v: %d, %v", fault, len(got), err)
			}
		}
	})
}

// TestRefetchRefusesWhatIsNoName: nothing that an event may say gets into a query as it is.
func TestRefetchRefusesWhatIsNoName(t *testing.T) {
	at := time.Now()
	o := newOrg(reply(200, `{"done":true,"records":[]}`))
	c := o.open(t)
	for _, change := range []*sfstream.ChangeEvent{
		nil, {}, {EntityName: "Account WHERE Name != ''"}, {EntityName: "Account/../x", Type: sfstream.ChangeGapOverflow, CommitTime: at}, {EntityName: "1Account"}, {EntityName: "Account\n"},
		{EntityName: strings.Repeat("A", 200)}, {EntityName: "Accöunt"}, {EntityName: "Account", Type: sfstream.ChangeGapOverflow},
		{EntityName: "Account", RecordIDs: []string{"001000000000001AAA", "') OR Name != ('"}}, {EntityName: "Account", RecordIDs: []string{""}},
		{EntityName: "Account", RecordIDs: []string{"001000000000001AA"}}, {EntityName: "Account", RecordIDs: []string{"001000000000001AA'"}}, {EntityName: "Account", RecordIDs: []string{"*"}},
		{EntityName: "Account", RecordIDs: []string{"001000000000001AAA\n"}}, {EntityName: "Account", RecordIDs: []string{"00%*"}},
	} {
		if _, err := take(t, c.Refetch(t.Context(), change)); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%+v: %v", change, err)
		}
	}
	old := o.open(t, sfstream.WithAPIVersion("50.0"))
	if _, err := take(t, old.Refetch(t.Context(), &sfstream.ChangeEvent{EntityName: "Account", RecordIDs: []string{accountID(1)}})); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Error(err)
	}
	if n := len(o.seen()); n > 0 {
		t.Errorf("%d requests were sent", n)
	}
	if ids, err := take(t, c.Refetch(t.Context(), &sfstream.ChangeEvent{EntityName: "Account"})); err != nil || len(ids) > 0 || len(o.seen()) > 0 {
		t.Errorf("a change of nothing: %v, %v", ids, err)
	}
}

// TestRefetchFitsIntoURLs: no request is longer than Salesforce takes.
func TestRefetchFitsIntoURLs(t *testing.T) {
	o := newOrg(func(r *http.Request) (*http.Response, error) {
		return response(200, `{"done":true,"records":[]}`), nil
	})
	var ids []string
	for i := range 1001 {
		ids = append(ids, accountID(i))
	}
	c := o.open(t)
	got, err := take(t, c.Refetch(t.Context(), &sfstream.ChangeEvent{EntityName: strings.Repeat("A", 77) + "__c", RecordIDs: ids}))
	lab.Must(t, err)
	if seen := o.seen(); len(got) != 1001 || len(seen) != 6 {
		t.Errorf("%d records, %d requests", len(got), len(o.seen()))
	}
	for _, sent := range o.seen() {
		u, err := url.Parse(sent.url)
		lab.Must(t, err)
		if soql := u.Query().Get("q"); len(sent.url) > 8000 || !strings.HasPrefix(soql, "SELECT FIELDS(ALL) FROM AAA") || !strings.HasSuffix(soql, "') LIMIT 200") {
			t.Errorf("%d bytes: %.100s", len(sent.url), soql)
		}
	}
}

// TestRefetchEndsWhereAnOrgRepeatsItself: an org that gives the same page for ever.
func TestRefetchEndsWhereAnOrgRepeatsItself(t *testing.T) {
	for _, id := range []string{accountID(1), "", "x' OR Name != '"} {
		records := strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"Id":%q},`, id), 200), ",")
		o := newOrg(reply(200, `{"done":true,"records":[`+records+`]}`))
		got, err := take(t, o.open(t).Refetch(t.Context(), &sfstream.ChangeEvent{EntityName: "Account", RecordIDs: []string{"001*"}}))
		if err == nil || len(got) > 400 || len(o.seen()) > 2 {
			t.Errorf("%q: %d records, %d requests, %v", id, len(got), len(o.seen()), err)
		}
	}
}
