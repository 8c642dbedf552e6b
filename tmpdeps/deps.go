package tmpdeps

import (
	_ "github.com/cenkalti/backoff/v4"
	_ "github.com/hamba/avro/v2"
	_ "go.etcd.io/bbolt"
	_ "golang.org/x/oauth2"
	_ "google.golang.org/grpc"
	_ "google.golang.org/grpc/keepalive"
	_ "google.golang.org/grpc/credentials/insecure"
)
