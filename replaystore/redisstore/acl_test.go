package redisstore_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/redisstore"
)

// TestACL has a user with what the package documentation names, and no more.
func TestACL(t *testing.T) {
	server := serve(t)
	admin := server.client(t)
	for user, commands := range map[string][]any{
		"register": {"+eval", "+evalsha", "+hget", "+hmget", "+hset"},
		"store":    {"+eval", "+evalsha", "+get", "+set", "+del"},
	} {
		rules := append([]any{"acl", "setuser", user, "on", ">secret", "~sfstream:*", "-@all"}, commands...)
		if err := admin.Do(t.Context(), rules...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	client := func(user string) *redis.Client {
		return connect(t, &redis.Options{Network: "unix", Addr: server.socket(), Username: user, Password: "secret"})
	}
	register, err := redisstore.New(client("register"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, register, "value", put(t, register, "value", ""))
	if _, _, err := register.Get(t.Context(), "key"); err != nil {
		t.Error(err)
	}
	store, err := redisstore.NewStore(client("store"))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{order: {}}); err != nil {
		t.Error(err)
	}
	if _, err := store.Load(t.Context(), order); err != nil {
		t.Error(err)
	}
	if err := store.Delete(t.Context(), order); err != nil {
		t.Error(err)
	}
}
