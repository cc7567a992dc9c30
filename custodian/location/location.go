// Package location names where copies of what the instance records go: a directory of the node, or a prefix in an object
// store.
package location

import (
	"path/filepath"
	"regexp"
	"strings"

	"conclave/custodian/key"
)

// objectScheme begins a place in an object store: s3://BUCKET/PREFIX. Which store that is, and as whom, is the node's
// configuration.
const objectScheme = "s3://"

// maxPath bounds a path, in bytes (ours).
const maxPath = 1024

var (
	// bucketName: 3 to 63 characters, as the S3 API's general purpose buckets are named, without the dots that TLS
	// certificates of virtual-hosted buckets do not cover.
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)
	// objectPrefix: path segments that are safe in every tool that people fetch copies with.
	objectPrefix = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)
)

// Object reads a place in an object store: bucket, and key or prefix. false for a path of the file system.
func Object(place string) (bucket, name string, ok bool) {
	rest, ok := strings.CutPrefix(place, objectScheme)
	if !ok {
		return "", "", false
	}
	bucket, name, _ = strings.Cut(rest, "/")
	return bucket, name, true
}

// Within is the place of a file, by its name, within a directory or prefix.
func Within(directory, name string) string {
	if strings.HasPrefix(directory, objectScheme) {
		return directory + "/" + name
	}
	return filepath.Join(directory, name)
}

// Check checks where files are to go; what is wrong is a *key.FieldError of that field.
func Check(field, dir string) error {
	const allowed = "the absolute path of a directory that exists on the node, as /var/backups/conclave; or s3://BUCKET/PREFIX, without a slash at the end"
	bucket, prefix, object := Object(dir)
	bad := false
	switch {
	case len(dir) > maxPath:
		bad = true
	case object:
		bad = !bucketName.MatchString(bucket) || !objectPrefix.MatchString(prefix)
	default:
		bad = !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/" || strings.ContainsAny(dir, "\x00\n\r\t")
	}
	if bad {
		return &key.FieldError{Field: field, Problem: "neither a plain absolute path nor a place in an object store", Allowed: allowed}
	}
	return nil
}
