package main

import (
	"context"
	"crypto/tls"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/redisstore"
	"github.com/sfstream/sfstream-go/sfstream/sink"
	"github.com/sfstream/sfstream-go/sfstream/sink/redissink"
)

// redisClient makes a client of redis://user@host:port,host:port, of which several are those of a
// cluster, or with master those of sentinels. It does no I/O.
func redisClient(a address, values map[string]string) (redis.UniversalClient, error) {
	options := &redis.UniversalOptions{
		Addrs: a.withPorts("6379"), Username: a.user, Password: a.password, MasterName: values["master"],
		ContextTimeoutEnabled: true,
	}
	if len(options.Addrs) == 0 {
		return nil, mistaken("-%s: redis:// has no host", a.name)
	}
	if db := values["db"]; db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return nil, mistaken("-%s: db=%s is no number of a database", a.name, db)
		}
		options.DB = n
	}
	config, err := a.tls(values)
	options.TLSConfig = config
	return redis.NewUniversalClient(options), err
}

// tls returns the configuration where the address wants one, nil else. Whom it trusts is said by
// SSL_CERT_FILE, as ever.
func (a address) tls(values map[string]string) (*tls.Config, error) {
	switch values["tls"] {
	case "", "false":
		return nil, nil
	case "true":
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	return nil, mistaken("-%s: tls=%s is neither true nor false", a.name, values["tls"])
}

func openRedisRegister(_ context.Context, a address, _ *proxy) (none opened[replaystore.Register], err error) {
	values, err := a.take("db", "master", "tls")
	if err != nil {
		return none, err
	}
	client, err := redisClient(a, values)
	if err != nil {
		return none, err
	}
	register, err := redisstore.New(client)
	if err == nil && a.path != "" {
		err = mistaken("-register: redis:// takes no path: want redis://host:port?db=0")
	}
	if err != nil {
		return none, errors.Join(err, client.Close())
	}
	return opened[replaystore.Register]{register, asks(register), client.Close}, nil
}

func openRedisSink(_ context.Context, a address, _ *proxy) (none opened[sink.Sink], err error) {
	values, err := a.take("db", "master", "tls", "maxlen")
	if err != nil {
		return none, err
	}
	if a.path == "" {
		return none, mistaken("-sink: want redis://host:port/STREAM")
	}
	var options []redissink.Option
	if values["maxlen"] != "" {
		n, err := strconv.ParseInt(values["maxlen"], 10, 64)
		if err != nil {
			return none, mistaken("-sink: maxlen=%s is no number", values["maxlen"])
		}
		options = append(options, redissink.WithMaxLen(n))
	}
	client, err := redisClient(a, values)
	if err != nil {
		return none, err
	}
	queue, err := redissink.New(client, a.path, options...)
	if err != nil {
		return none, errors.Join(err, client.Close())
	}
	ping := func(ctx context.Context) error { return client.Ping(ctx).Err() }
	return opened[sink.Sink]{queue, ping, client.Close}, nil
}
