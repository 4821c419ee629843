// Judges dashboards by Grafana's own schema: what it does not know, a wrong type, what is missing.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	failed := false
	for _, path := range os.Args[1:] {
		if err := judge(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func judge(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var board dashboard.Dashboard
	if err := some(board.UnmarshalJSONStrict(text)); err != nil {
		return err
	}
	if err := some(board.Validate()); err != nil {
		return err
	}
	// What the schema takes as it is: a panel of any type, with any fieldConfig.
	var raw struct {
		Panels []struct {
			Title       string
			Type        string
			FieldConfig json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	for _, panel := range raw.Panels {
		if _, known := cog.ConfigForPanelcfgVariant(panel.Type); !known && panel.Type != "row" {
			return fmt.Errorf("%s: there is no panel of type %q", panel.Title, panel.Type)
		}
		var config dashboard.FieldConfigSource
		if err := some(config.UnmarshalJSONStrict(panel.FieldConfig)); err != nil {
			return fmt.Errorf("%s: fieldConfig: %w", panel.Title, err)
		}
	}
	return nil
}

// some returns what is wrong: an empty list of faults is none.
func some(err error) error {
	if err == nil || err.Error() == "" {
		return nil
	}
	return err
}
