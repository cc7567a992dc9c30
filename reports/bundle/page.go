package bundle

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"text/template"

	"github.com/go-json-experiment/json"

	"conclave/custodian/people"
	"conclave/policies"
)

//go:embed page
var pageFiles embed.FS

// Page is the offline verifier as one HTML page: it checks a bundle as [Verify] does, in a browser, by WebCrypto. Its
// content security policy allows exactly the script and the style in it, and no network.
func Page() ([]byte, error) {
	script, err := joined("bytes.js", "zip.js", "tree.js", "signed.js", "timestamp.js", "verify.js", "content.js", "records.js", "yaml.js", "provenance.js", "quorum.js", "seen.js", "ui.js")
	if err != nil {
		return nil, err
	}
	constants, err := json.Marshal([]any{map[string]string{people.CurrentForm().Version: people.CurrentForm().Digest()},
		map[policies.Mode]int{policies.Production: policies.LeastApprovals(policies.Production), policies.Development: policies.LeastApprovals(policies.Development)},
		maxGenesis, policies.ClassTable(), leastHolders, signingSkew.Seconds()}, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("making the page: %w", err)
	}
	script += "const [FORMS, FLOOR, FOUNDING, CLASSES, HOLDERS, SKEW] = " + string(constants) + ";\n"
	style, err := joined("style.css")
	if err != nil {
		return nil, err
	}
	// Not html/template: it would escape the script, and the hashes are of the script as it stands.
	t, err := template.ParseFS(pageFiles, "page/page.html.tmpl")
	if err != nil {
		return nil, fmt.Errorf("reading the page: %w", err)
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]string{"Script": script, "Style": style, "ScriptHash": csp(script), "StyleHash": csp(style)})
	if err != nil {
		return nil, fmt.Errorf("making the page: %w", err)
	}
	return out.Bytes(), nil
}

func joined(names ...string) (string, error) {
	var out bytes.Buffer
	for _, name := range names {
		data, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			return "", fmt.Errorf("reading the page: %w", err)
		}
		out.Write(data)
	}
	return out.String(), nil
}

// csp is a source of a Content-Security-Policy that allows one inline text.
func csp(inline string) string {
	sum := sha256.Sum256([]byte(inline))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
