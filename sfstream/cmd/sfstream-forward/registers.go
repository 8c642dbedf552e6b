package main

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/etcdstore"
	"github.com/sfstream/sfstream-go/replaystore/k8sstore"
)

// registers are those that -register may name.
var registers = kinds[replaystore.Register]{
	{"nats", "nats://HOST[:4222][,HOST…]?bucket=NAME[&creds=FILE&tls=true]", openNATSRegister},
	{"redis", "redis://HOST[:6379][,HOST…][?db=N&master=NAME&tls=true]", openRedisRegister},
	{"postgres", "postgres://HOST[:5432][,HOST…]/DATABASE[?table=NAME&sslmode=…]", openPostgresRegister},
	{"etcd", "etcd://HOST[:2379][,HOST…][?tls=true]", openEtcdRegister},
	{"k8s", "k8s:[?namespace=NAME]", openK8sRegister},
}

// asks returns a check of a register: a key is asked for, and may be there or not.
func asks(r replaystore.Register) func(context.Context) error {
	return func(ctx context.Context) error {
		_, _, err := r.Get(ctx, "sfstream-forward/check")
		if errors.Is(err, replaystore.ErrNotFound) {
			return nil
		}
		return err
	}
}

func openEtcdRegister(ctx context.Context, a address, _ *proxy) (none opened[replaystore.Register], err error) {
	values, err := a.take("tls")
	if err != nil {
		return none, err
	}
	if len(a.hosts) == 0 || a.path != "" {
		return none, mistaken("-register: want etcd://host:port")
	}
	config := clientv3.Config{Endpoints: a.withPorts("2379"), Username: a.user, Password: a.password, DialTimeout: dialTimeout}
	if config.TLS, err = a.tls(values); err != nil {
		return none, err
	}
	client, err := clientv3.New(config)
	if err != nil {
		return none, fmt.Errorf("-register %s: %w", a, err)
	}
	register := etcdstore.New(client)
	return opened[replaystore.Register]{register, asks(register), client.Close}, nil
}

// openK8sRegister uses the service account of the pod in which the program runs.
func openK8sRegister(_ context.Context, a address, _ *proxy) (none opened[replaystore.Register], err error) {
	values, err := a.take("namespace")
	if err != nil {
		return none, err
	}
	if len(a.hosts) > 0 || a.path != "" {
		return none, mistaken("-register: want k8s: or k8s:?namespace=NAME, in a pod of Kubernetes")
	}
	config, err := k8sstore.InCluster()
	if err != nil {
		return none, fmt.Errorf("-register k8s: %w", err)
	}
	if values["namespace"] != "" {
		config.Namespace = values["namespace"]
	}
	register, err := k8sstore.New(config)
	if err != nil {
		return none, fmt.Errorf("-register k8s: %w", err)
	}
	return opened[replaystore.Register]{register, asks(register), func() error { return nil }}, nil
}
