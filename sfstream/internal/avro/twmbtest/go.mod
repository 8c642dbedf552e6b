module github.com/sfstream/sfstream-go/sfstream/internal/avro/twmbtest

go 1.26.0

require github.com/twmb/avro v1.9.1
