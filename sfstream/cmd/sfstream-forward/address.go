package main

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
)

// An address is an URL of a queue or of a register. Unlike those of net/url it may have several
// hosts. Its text has no password.
type address struct {
	name           string // of the flag
	scheme         string // empty: there is none
	user, password string
	hosts          []string // with ports
	path           string   // without the first slash, not decoded: it may have the {fields} of a template
	query          url.Values
}

// addressOf reads what a flag has, or without it the variable SFSTREAM_<FLAG> or the file that
// SFSTREAM_<FLAG>_FILE names. A password is not for the command line or the configuration, which
// others may see: it is in the variable or the file, or in SFSTREAM_<FLAG>_PASSWORD or its file.
func addressOf(flag, text string, schemes []string) (address, error) {
	variable := "SFSTREAM_" + strings.ToUpper(flag)
	visible := text != ""
	if !visible {
		var err error
		if text, err = secret(variable); err != nil {
			return address{}, err
		}
	}
	a := address{name: flag, query: url.Values{}}
	if text == "" {
		return a, nil
	}
	if err := a.parse(text); err != nil {
		return a, mistaken("-%s: %v", flag, err)
	}
	if !slices.Contains(schemes, a.scheme) {
		return a, mistaken("-%s: %q is none of %s", flag, a.scheme, strings.Join(schemes, ", "))
	}
	if visible && a.password != "" {
		return a, mistaken("-%s has a password, which others can see: put it into the variable %s_PASSWORD, or into a file that %s_PASSWORD_FILE names", flag, variable, variable)
	}
	password, err := secret(variable + "_PASSWORD")
	if password != "" {
		a.password = password
	}
	if what := a.secretBesidePassword(); err == nil && visible && what != "" {
		return a, mistaken("-%s has %s, which others can see: put the URL into the variable %s, or into a file that %s_FILE names", flag, what, variable, variable)
	}
	return a, err
}

// secretBesidePassword names what else of the address is secret: for NATS a user without a password
// is a token, and PostgreSQL takes passwords as parameters, too.
func (a address) secretBesidePassword() string {
	switch {
	case a.scheme == "nats" && a.user != "" && a.password == "":
		return "a token"
	case a.scheme == "postgres" && a.query.Has("password"):
		return "a password"
	case a.scheme == "postgres" && a.query.Has("sslpassword"):
		return "the password of a key"
	}
	return ""
}

// secret returns what a variable has, or the file that the variable with _FILE names.
func secret(variable string) (string, error) {
	value, path := strings.TrimSpace(os.Getenv(variable)), os.Getenv(variable+"_FILE")
	switch {
	case path == "":
		return value, nil
	case value != "":
		return "", mistaken("%s and %s_FILE are both set", variable, variable)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", mistaken("%s_FILE: %v", variable, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// parse reads scheme://user:password@host:port,host:port/path?query, or scheme:?query. Its errors
// show nothing of what it reads but the scheme, because a password may be anywhere in it.
func (a *address) parse(text string) error {
	var found bool
	if a.scheme, text, found = strings.Cut(text, ":"); !found || a.scheme == "" {
		a.scheme = ""
		return fmt.Errorf("it is no URL: want scheme://host:port/…")
	}
	if text, found = strings.CutPrefix(text, "//"); found {
		if end := strings.IndexAny(text, "/?"); end >= 0 && strings.Contains(text[end:], "@") {
			return fmt.Errorf("it has an @ behind a / or a ?: write %%2F and %%3F for these in a password, and %%40 for an @ elsewhere")
		}
	}
	text, query, _ := strings.Cut(text, "?")
	var err error
	if a.query, err = url.ParseQuery(query); err != nil {
		return fmt.Errorf("what is behind the question mark cannot be read: want name=value&name=value")
	}
	if !found {
		if text != "" {
			return fmt.Errorf("want %s://host:port/…", a.scheme)
		}
		return nil
	}
	hosts, path, _ := strings.Cut(text, "/")
	a.path = path
	if at := strings.LastIndex(hosts, "@"); at >= 0 {
		user, password, _ := strings.Cut(hosts[:at], ":")
		hosts = hosts[at+1:]
		if a.user, err = url.PathUnescape(user); err == nil {
			a.password, err = url.PathUnescape(password)
		}
		if err != nil {
			return fmt.Errorf("user or password have a %% that is not followed by two hex digits: write it as %%25")
		}
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if host != "" {
			a.hosts = append(a.hosts, host)
		}
	}
	return nil
}

// take returns the values of the query's names that are known, and an error for any other name. A
// name that is not there has the empty text.
func (a address) take(names ...string) (map[string]string, error) {
	values := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(a.query)) {
		if !slices.Contains(names, name) {
			return nil, mistaken("-%s: %s:// has no %q: it knows %s", a.name, a.scheme, name, strings.Join(names, ", "))
		}
		if len(a.query[name]) > 1 {
			return nil, mistaken("-%s: %q is there twice", a.name, name)
		}
		values[name] = a.query.Get(name)
	}
	return values, nil
}

// withPorts returns the hosts, with a port where one has none.
func (a address) withPorts(port string) []string {
	var hosts []string
	for _, host := range a.hosts {
		if !strings.Contains(strings.TrimPrefix(host[strings.LastIndex(host, "]")+1:], "]"), ":") {
			host += ":" + port
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// String returns the address without its password and its query, for the log.
func (a address) String() string {
	text := a.scheme + ":"
	if len(a.hosts) > 0 {
		text += "//" + strings.Join(a.hosts, ",")
		if a.path != "" {
			text += "/" + a.path
		}
	}
	return text
}
