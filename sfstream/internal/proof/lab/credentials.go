package lab

import (
	"context"

	"github.com/sfstream/sfstream-go/authenticator"
)

// CredentialsOf is an authenticator that logs in for real and gives what it is told to.
func CredentialsOf(auth authenticator.Authenticator, change func(*authenticator.Credentials)) authenticator.Authenticator {
	return authenticator.Func(func(ctx context.Context, login authenticator.Login) (*authenticator.Credentials, error) {
		c, err := auth.Authenticate(ctx, login)
		if err == nil {
			change(c)
		}
		return c, err
	})
}
