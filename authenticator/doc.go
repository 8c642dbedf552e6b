// Package authenticator logs in to Salesforce.
//
// An [Authenticator] performs one login and returns [Credentials]: the access token, the address of
// the org and its id. The types below implement the flows of Salesforce; a [Func] can implement any
// other; [FromEnv] picks a flow from the environment. [Cache] shares one login between all who need
// it and forgets it when Salesforce has refused its token; [TokenSource] offers that login to
// golang.org/x/oauth2 for REST calls.
//
//	cache := authenticator.NewCache(authenticator.JWTBearer{
//		ConsumerKey: key,
//		Username:    "robot@acme.com.dev",
//		PrivateKey:  pem,
//	})
//	credentials, err := cache.Get(ctx, authenticator.Login{URL: authenticator.SandboxURL})
//
// # Flows
//
// When to use which flow, what it needs in Salesforce, and which errors say what is wrong:
//
//	JWTBearer          a server, in production and sandboxes alike. An app with the certificate of a key, and a user
//	                   whom the app's policy pre-authorises.
//	                     user hasn't approved this consumer   the user is not pre-authorised
//	                     invalid assertion                    the app has another certificate or consumer key
//	                     audience is invalid                  set Audience
//	ClientCredentials  a server with a secret in place of a key; at the My Domain URL only. An app with a run-as user.
//	                     request not supported on this domain   not the My Domain URL
//	                     no client credentials user enabled     no run-as user
//	                     invalid_client                         another secret
//	RefreshToken       on behalf of a person who approved the app. An app with the scope refresh_token.
//	                     expired access/refresh token   revoked, too old, or rotated and not persisted
//	Saved              on a person's own computer: the login that Authorization (sfstream login) has saved there. An app
//	                   with that callback URL, PKCE and the scope refresh_token.
//	                     redirect_uri_mismatch          the app has another callback URL
//	                     expired access/refresh token   revoked, or too old: sfstream login saves it anew
//	Static             an access token from elsewhere, such as of a test. It cannot be renewed.
//	                     INVALID_SESSION_ID   it has ended, as after two hours without calls
//	Password           old orgs; ends on 20 February 2027. A connected app, and the flow allowed in the org.
//	                     authentication failure   the flow is blocked, or the password is wrong
//	SOAP               old orgs without an app; ends in Summer '27. The login call allowed in the org.
//	                     INVALID_OPERATION     it is not
//	                     INSUFFICIENT_ACCESS   the user lacks Use Any API Auth
//
// An app is an External Client App: Setup, External Client App Manager, New. Enable OAuth with any
// callback URL and the scopes api and refresh_token, offline_access; enable the flow, for JWT with
// the certificate; leave JWT-based access tokens off, because they work for REST only. Then
// pre-authorise the user (JWT) or name the run-as user (client credentials) in the app's policies.
// Consumer key and secret are in its settings. A new app takes some minutes until it works.
// Connected apps that are not installed in the org are restricted since September 2025
// (OAUTH_APP_BLOCKED).
//
// A failed login is an [*Error]. [Permanent] tells whether another attempt is useless, or worse:
// repeated failures lock the user out.
//
// # What Salesforce does
//
// The facts about logins that this package and the in-process Salesforce of sfstreamtest rest on:
//
//   - The token endpoint is /services/oauth2/token at the login URL; it takes a form and answers in
//     JSON, whatever the Content-Type says. A token comes without expires_in, and issued_at is a text
//     of milliseconds. The org's id is the last part but one of id, the identity URL.
//   - A session ends after two hours without calls, unless the app's policy, the user's profile or the
//     org says otherwise. Each call begins the two hours anew.
//   - A refused login is HTTP 400, or 401, with error and error_description. invalid_grant has a dozen
//     causes, which only the description tells apart. REST answers [{"errorCode":…,"message":…}],
//     userinfo the bare word Bad_OAuth_Token with 403, SOAP a fault with HTTP 500.
//   - An assertion's exp is in seconds and at most three minutes ahead by the documentation; five
//     are accepted. Its aud is the login host; some sandboxes and External Client Apps want the My
//     Domain URL. An exp in milliseconds is answered as an expired authorization code.
//   - Client credentials are refused at the hosts where all orgs log in.
//   - An authorization code can be exchanged once, within 15 minutes, with the redirect_uri for which it
//     was given; that must be a callback URL of the app, letter by letter. A PKCE verifier with "~" is
//     refused. An error comes to the callback as error and error_description, but on a page of
//     Salesforce where the app or its callback are in doubt.
//   - Where refresh tokens are rotated, each login brings a new one. Using an old one revokes the new one
//     and every access token.
//   - A SOAP login of a user whose password has expired succeeds: its session can do nothing but set
//     a new one.
//   - JWT-based access tokens, which have two dots, are for REST only.
//   - After an org has moved to another instance, the next login names the new one.
//
// Sources: Salesforce Help, "OAuth Authorization Flows" and the pages of the flows, "OAuth 2.0
// Error Codes", and the articles 005461976 (end of the password flow) and 005228017 (connected
// apps); the SOAP API guide, "login()"; the Pub/Sub API guide,
// https://developer.salesforce.com/docs/platform/pub-sub-api/guide/supported-auth.html; and
// https://github.com/pozil/pub-sub-api-node-client/issues/58 and
// https://github.com/cognizant-ai-lab/nsflow/issues/249 (verifiers).
//
// # Safety
//
// Secrets go only to https addresses (and, for tests, to http on a loopback host). Redirects are
// never followed, because the user has not chosen the host that a redirect names. At most 1 MiB of
// a reply is read, and one request takes at most a minute, whatever the context and the HTTP client
// allow.
//
// [Credentials] and the flows redact themselves in fmt, encoding/json and log/slog, and no secret
// reaches the text of an error, even when the server echoes it.
//
// # Caveats
//
//   - Go cannot redact what is kept in an unexported field of another struct, nor from the verbs %p and %w:
//     fmt calls no methods there. For such a field %v, %+v and %#v show a pointer as its address, but a value
//     in full, and the other verbs show both in full. A struct that holds one should have a Format of its own.
//   - An error that OnRotate or a [Func] returned can be reached with [errors.As] as it was made.
//   - A rotated refresh token lives only in memory unless [RefreshToken].OnRotate persists it. A refresh that
//     has been sent runs to its end even if its caller leaves, but not if the process exits meanwhile.
//     The same is so of a login of [Saved].
package authenticator
