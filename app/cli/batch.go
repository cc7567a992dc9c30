package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// maxItemsFile bounds what is read as items, in bytes: the service takes far less.
const maxItemsFile = 1 << 20

func batchCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "batch OPERATION", Short: "Propose one operation for a listed batch under one statement", Args: exactly("OPERATION"),
		Long: "Proposes one operation, such as key.rotate, for up to 100 items under one statement: whoever approves signs\n" +
			"the list with what every item acts on, and the strictest item decides what it takes. Keys are named with\n" +
			"--key; for anything else --items is a file (- for standard input) with the parameters of each item, as a\n" +
			"JSON array of objects or one object after another.",
	}
	keys := c.Flags().StringSlice("key", nil, "key it is to be done for; repeat for more")
	file := c.Flags().String("items", "", "file with the parameters of each item")
	reason := c.Flags().String("reason", "", "why, for the record")
	c.MarkFlagsOneRequired("key", "items")
	c.MarkFlagsMutuallyExclusive("key", "items")
	c.RunE = action(func(s *session, cmd *cobra.Command, args []string) error {
		var items []json.RawMessage
		for _, k := range *keys {
			raw, err := json.Marshal(map[string]string{"key": k})
			if err != nil {
				return err
			}
			items = append(items, raw)
		}
		if *file != "" {
			var err error
			if items, err = readItems(cmd.InOrStdin(), *file); err != nil {
				return err
			}
		}
		return s.propose("batch", map[string]any{"operation": args[0], "items": items}, *reason)
	})
	return must(c, "reason")
}

// readItems reads JSON objects: an array of them, or one after another.
func readItems(stdin io.Reader, path string) ([]json.RawMessage, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, usagef("items: %v", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxItemsFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading items: %w", err)
	}
	if len(raw) > maxItemsFile {
		return nil, usagef("items: larger than %d bytes; allowed: up to 100 items", maxItemsFile)
	}
	var items []json.RawMessage
	if trimmed := bytes.TrimSpace(raw); len(trimmed) > 0 && trimmed[0] == '[' {
		if err := json.Unmarshal(trimmed, &items); err != nil {
			return nil, usagef("items: not a JSON array: %v", err)
		}
		return items, nil
	}
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		var item json.RawMessage
		switch err := d.Decode(&item); {
		case errors.Is(err, io.EOF):
			return items, nil
		case err != nil:
			return nil, usagef("items: item %d is not JSON: %v", len(items)+1, err)
		}
		items = append(items, item)
	}
}
