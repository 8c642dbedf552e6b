package authenticator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// credentials makes Credentials from a token reply. The ids of the org and the user are the last
// segments of the identity URL; if that is missing, credentials asks userinfo for them.
func (x *exchange) credentials(ctx context.Context, token *oauth2.Token) (*Credentials, error) {
	text := func(key string) string { s, _ := token.Extra(key).(string); return s }
	c := &Credentials{
		AccessToken: token.AccessToken,
		TokenType:   token.Type(),
		IssuedAt:    issuedAt(token.Extra("issued_at")),
		ID:          text("id"),
		Signature:   text("signature"),
		InstanceURL: text("instance_url"),
	}
	x.secrets = append(x.secrets, c.Signature)
	if reason := c.checked(); reason != "" {
		reason = strings.NewReplacer("AccessToken", "access_token", "InstanceURL", "instance_url").Replace(reason)
		return nil, x.fail(codeIncomplete, http.StatusOK, nil, "in the reply %s", reason)
	}
	if c.AccessToken == "" || c.InstanceURL == "" {
		return nil, x.fail(codeIncomplete, http.StatusOK, nil, "the reply lacks access_token or instance_url")
	}
	x.secrets = append(x.secrets, c.AccessToken)
	c.OrgID, c.UserID = splitIdentity(c.ID)
	if c.OrgID == "" {
		if _, err := x.userinfo(ctx, c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// userinfo asks the org for the ids of the org and the user, and for the username. It does not
// retry, because a login is one attempt.
func (x *exchange) userinfo(ctx context.Context, c *Credentials) (username string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.InstanceURL+"/services/oauth2/userinfo", nil)
	if err != nil {
		return "", x.fail(codeConfig, 0, err, "no request can be made for the instance URL")
	}
	req.Header.Set("Authorization", "Bearer "+c.AccessToken)
	x.at = req.URL.String()
	client, rec := x.client()
	resp, err := client.Do(req)
	if err != nil {
		return "", x.refusal(ctx, req.URL, nil, err)
	}
	defer resp.Body.Close()
	var info struct {
		OrgID    string `json:"organization_id"`
		UserID   string `json:"user_id"`
		Username string `json:"preferred_username"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(rec.reply.body, &info) != nil || !isOrgID(info.OrgID) {
		return "", x.refusal(ctx, req.URL, rec.reply, nil)
	}
	c.OrgID, c.UserID = info.OrgID, info.UserID
	return info.Username, nil
}

// splitIdentity returns the ids in https://login.salesforce.com/id/<org>/<user>.
func splitIdentity(identity string) (org, user string) {
	u, err := url.Parse(identity)
	if err != nil {
		return "", ""
	}
	_, ids, _ := strings.Cut(u.Path, "/id/")
	org, user, _ = strings.Cut(strings.TrimRight(ids, "/"), "/")
	if !isOrgID(org) || !isID(user) {
		return "", ""
	}
	return org, user
}

// isID reports whether s has the form of a Salesforce id: 15 characters, or 18 with the check
// characters.
func isID(s string) bool {
	return (len(s) == 15 || len(s) == 18) && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// isOrgID reports whether s has the form of an org's id.
func isOrgID(s string) bool { return isID(s) && strings.HasPrefix(s, "00D") }

// issuedAt reads Salesforce's milliseconds since 1970, which are sent as a string. They are for
// information only, so that an unreadable time is the zero time and no error.
func issuedAt(v any) time.Time {
	if f, ok := v.(float64); ok { // in case Salesforce ever sends a number
		v = strconv.FormatFloat(f, 'f', 0, 64)
	}
	ms, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	if err != nil || ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
