package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
)

// verdict is what a check says of what it looked at.
type verdict string

const (
	fine    verdict = "ok"
	warning verdict = "warning"   // it works, and will not for ever or not everywhere
	wrong   verdict = "wrong"     // it does not work
	untried verdict = "not tried" // something before it does not work, or the user may not ask
)

// finding is one line of the report.
type finding struct {
	Area   string  `json:"area"` // account, network, clock, login, org, quota, end of life, or a channel
	Status verdict `json:"status"`
	Text   string  `json:"text"`
	Fix    string  `json:"fix,omitempty"` // the next step; empty where there is nothing to do
	// Facts has what Text says for programs, with a type for each kind of check.
	Facts any `json:"facts,omitempty"`
}

// found makes a finding. The text is Sprintf's, in one line.
func found(area string, status verdict, format string, args ...any) finding {
	return finding{Area: area, Status: status, Text: oneline.Text(fmt.Sprintf(format, args...))}
}

// fix returns the finding with its next step.
func (f finding) fix(format string, args ...any) finding {
	f.Fix = oneline.Text(fmt.Sprintf(format, args...))
	return f
}

// with returns the finding with facts for programs.
func (f finding) with(facts any) finding {
	f.Facts = facts
	return f
}

// report is all that doctor found, as -json prints it.
type report struct {
	OK       bool      `json:"ok"` // nothing is wrong
	Findings []finding `json:"findings"`
}

func (r *report) count(status verdict) (n int) {
	for _, f := range r.Findings {
		if f.Status == status {
			n++
		}
	}
	return n
}

// err returns the error of the command, nil if nothing is wrong.
func (r *report) err() error {
	switch bad := r.count(wrong); bad {
	case 0:
		return nil
	case 1:
		return errors.New("doctor: one thing is wrong")
	default:
		return fmt.Errorf("doctor: %d things are wrong", bad)
	}
}

// printFinding writes a finding for people: a line, and below it what to fix.
func printFinding(w io.Writer, f finding) error {
	_, err := fmt.Fprintf(w, "%-9s  %s: %s\n", f.Status, f.Area, harmless(f.Text))
	if err == nil && f.Fix != "" {
		_, err = fmt.Fprintf(w, "%-9s  what to fix: %s\n", "", harmless(f.Fix))
	}
	return err
}

// printJSON writes the whole report.
func (r *report) printJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// secrets are the texts that no report shows. No check puts one into a finding; but what servers,
// proxies and the packages below us say is in it too, and some of them repeat what they were sent.
type secrets []string

// secretVariables are the variables of an account that hold a secret, without their prefix.
var secretVariables = []string{"ACCESS_TOKEN", "REFRESH_TOKEN", "CONSUMER_SECRET", "PASSWORD", "SECURITY_TOKEN", "PRIVATE_KEY"}

// proxyVariables are those that say which proxy to use.
var proxyVariables = []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"}

// environmentSecrets returns the secrets in environment variables, and in the files that they name.
func environmentSecrets() (s secrets) {
	for _, name := range secretVariables {
		s = s.add(os.Getenv("SALESFORCE_" + name))
		if path := os.Getenv("SALESFORCE_" + name + "_FILE"); path != "" {
			// A file that cannot be read tells no secret.
			text, _ := os.ReadFile(path)
			s = s.add(string(text))
		}
	}
	for _, name := range proxyVariables {
		if value := os.Getenv(name); value != "" {
			if login, _, ok := cutLast(value, "@"); ok {
				_, login, _ = cutAfterScheme(login)
				s = s.add(login)
				if _, password, ok := strings.Cut(login, ":"); ok {
					s = s.add(password)
				}
			}
		}
	}
	return s
}

// add adds a secret in all forms that a text may have it in. What is shorter than four bytes hides
// nothing, and would blot out half of a report.
func (s secrets) add(secret string) secrets {
	secret = strings.TrimSpace(secret)
	if len(secret) < 4 {
		return s
	}
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret)}
	if plain, err := url.PathUnescape(secret); err == nil {
		forms = append(forms, plain)
	}
	for _, form := range forms {
		quoted := strconv.Quote(form)
		s = append(s, form, quoted[1:len(quoted)-1])
	}
	// The longest first: one secret may be the beginning of another.
	slices.SortFunc(s, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
	return slices.Compact(s)
}

// hide takes the secrets out of a text.
func (s secrets) hide(text string) string {
	for _, secret := range s {
		text = bayeux.Hide(text, secret)
	}
	return text
}

func cutLast(text, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}

func cutAfterScheme(text string) (scheme, rest string, ok bool) {
	if scheme, rest, ok = strings.Cut(text, "://"); ok {
		return scheme, rest, true
	}
	return "", text, false
}
