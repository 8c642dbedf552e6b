// Package authenticator logs in to Salesforce.
//
// An [Authenticator] performs one login and returns [Credentials]: the access token, the address of the org
// and its id. [Password], [*RefreshToken] and [Static] are the flows; a [Func] is any other; [FromEnv] picks
// one from the environment. [Cache] shares one login between all who need it and forgets it when a token has
// been refused; [TokenSource] offers that login to golang.org/x/oauth2 for REST calls.
//
//	cache := authenticator.NewCache(&authenticator.RefreshToken{
//		ConsumerKey:  key,
//		RefreshToken: token,
//		OnRotate:     save,
//	})
//	credentials, err := cache.Get(ctx, authenticator.Login{URL: authenticator.SandboxURL})
//
// A failed login is an [*Error]. [Permanent] tells whether trying again is useless, or worse: repeated
// failures lock the user out.
//
// # Safety
//
// Secrets go only to https addresses (and, for tests, to http on a loopback host). Redirects are never
// followed: the host that a redirect names has not been chosen by the user. A reply is read up to 1 MiB,
// and one request takes at most a minute, whatever the context and the HTTP client allow.
//
// [Credentials] and the flows redact themselves in fmt, encoding/json and log/slog, and no secret reaches
// the text of an error, even when the server echoes it.
//
// # Caveats
//
//   - Go cannot redact what is kept in an unexported field of another struct, nor from the verbs %p and %w:
//     fmt calls no methods there. For such a field %v, %+v and %#v show a pointer as its address, but a value
//     in full, and the other verbs show both in full. A struct that holds one should have a Format of its own.
//   - An error that OnRotate or a Func returned can be reached with errors.As as it was made.
//   - A rotated refresh token lives only in memory unless RefreshToken.OnRotate persists it. A refresh that
//     has been sent runs to its end even if its caller leaves, but not if the process exits meanwhile.
package authenticator
