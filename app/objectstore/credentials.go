package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"

	"conclave/hsm/secret"
)

const maxCredentials = 16 << 10

// credentials are read anew whenever they are asked for, so that replacing the file is enough to rotate them. The library
// keeps them as strings, which can not be wiped; what is read here is.
type credentials struct {
	file string // "" for the environment
}

// Retrieve implements aws.CredentialsProvider.
func (c credentials) Retrieve(context.Context) (aws.Credentials, error) {
	if c.file == "" {
		return checked(aws.Credentials{AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
			SessionToken: os.Getenv("AWS_SESSION_TOKEN"), Source: "environment"})
	}
	text, err := secret.ReadFile(c.file, maxCredentials)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("credentials of the object store: %w", err)
	}
	defer secret.Wipe(text)
	return parse(text)
}

// parse reads lines of name = value, as the default profile of a shared credentials file has them.
func parse(text []byte) (aws.Credentials, error) {
	out := aws.Credentials{Source: "file"}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || line[0] == ';' || bytes.Equal(line, []byte("[default]")) {
			continue
		}
		name, value, found := bytes.Cut(line, []byte("="))
		value = bytes.TrimSpace(value)
		switch string(bytes.TrimSpace(name)) {
		case "aws_access_key_id":
			out.AccessKeyID = string(value)
		case "aws_secret_access_key":
			out.SecretAccessKey = string(value)
		case "aws_session_token":
			out.SessionToken = string(value)
		default:
			found = false
		}
		if !found { // the line is not repeated: it may be a secret on a line of its own
			return aws.Credentials{}, errors.New("credentials of the object store: a line that is not understood; allowed: aws_access_key_id, aws_secret_access_key and aws_session_token, each = its value, below [default] or without it")
		}
	}
	return checked(out)
}

func checked(c aws.Credentials) (aws.Credentials, error) {
	if c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return aws.Credentials{}, fmt.Errorf("credentials of the object store: access key or secret is missing in the %s", c.Source)
	}
	return c, nil
}
