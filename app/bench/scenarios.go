package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// tokenIDs are the ids of the fleet's tokens, in order.
func tokenIDs(dir string) []string {
	raw, err := os.ReadFile(filepath.Join(dir, "tokens.txt"))
	if err != nil {
		return make([]string, fleet)
	}
	var ids []string
	for _, t := range strings.Fields(string(raw)) {
		id, _, _ := strings.Cut(strings.TrimPrefix(t, "cvt_"), ".")
		ids = append(ids, id)
	}
	return ids
}

// prepare writes the scripts of all rows.
func prepare(dir string, high serving) ([]scenario, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "tokens.txt"))
	if err != nil {
		return nil, err
	}
	first := strings.Fields(string(raw))[0]
	auth := fmt.Sprintf(`, ["Authorization"]="Bearer %s"`, first)
	dataKey := `'{"bytes":32,"context":{"order":"4711"},"plaintext":true}'`
	unique := `'{"bytes":32,"context":{"order":"' .. n .. '"},"plaintext":true}'`
	batch := `body`
	batchSetup := `local items = {}
for i = 1, 100 do items[i] = '{"bytes":32,"context":{"order":"' .. i .. '"},"plaintext":true}' end
local body = '{"items":[' .. table.concat(items, ",") .. ']}'`
	path := "/v1/keys/" + keyName(0)
	scripts := []struct{ name, path, setup, body, headers string }{
		{"floor-datakey", "/datakey", "", dataKey, ""},
		{"datakey", path + "/datakeys", "", dataKey, auth},
		{"decrypt", "/v1/decrypt", "", `'{"ciphertext":"` + high.Ciphertext + `"}'`, auth},
		{"batch", path + "/datakeys/batch", batchSetup, batch, auth},
	}
	files := map[string]string{}
	for _, s := range scripts {
		if files[s.name], err = script(dir, s.name, s.path, s.setup, s.body, s.headers); err != nil {
			return nil, err
		}
	}
	if files["fleet"], err = fleetScript(dir, unique); err != nil {
		return nil, err
	}
	low := files["floor-datakey"]
	return []scenario{
		{name: "generate data key", connections: 64, floor: low, product: files["datakey"]},
		{name: "generate data key", connections: 1, floor: low, product: files["datakey"]},
		{name: "decrypt", connections: 64, floor: low, product: files["decrypt"]},
		{name: fmt.Sprintf("generate data key, %d applications × %d keys, a unique context each call", fleet, fleet), connections: 64, floor: low, product: files["fleet"]},
		{name: "batch of 100 data keys, items/s", connections: 16, product: files["batch"], items: 100},
	}, nil
}

// fleetScript takes another application with its key at each request.
func fleetScript(dir, body string) (string, error) {
	text := `local tokens = {}
for line in io.lines("` + filepath.Join(dir, "tokens.txt") + `") do tokens[#tokens + 1] = line end
local n = 0
request = function()
  n = n + 1
  local i = n % #tokens
  return wrk.format("POST", string.format("/v1/keys/bench-key-%04d/datakeys", i),
    {["Content-Type"]="application/json", ["Authorization"]="Bearer " .. tokens[i + 1]}, ` + body + `)
end
`
	file := filepath.Join(dir, "fleet.lua")
	return file, os.WriteFile(file, []byte(text), 0o600)
}
