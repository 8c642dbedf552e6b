package jsonevent

import "strings"

// splitEnriched takes out of the decoded payload of the Streaming API what a change event carries
// although it did not change. Of the Pub/Sub API package avro does it, by the same rules.
func splitEnriched(payload any) (enriched map[string]any) {
	fields, _ := payload.(map[string]any)
	header, ok := fields[headerName].(map[string]any)
	if !ok {
		return nil
	}
	names := make(map[string]bool) // of fields, and false for those of which a part changed
	switch header["changeType"] {
	case "DELETE":
	case update:
		list, ok := header["changedFields"].([]any)
		if !ok {
			return nil // an old version of the API does not say
		}
		for _, name := range list {
			name, _ := name.(string)
			names[name] = true
			if parent, _, nested := strings.Cut(name, "."); nested {
				names[parent] = names[parent] || false
			}
		}
	default:
		return nil
	}
	along := func(into map[string]any, name string, value any) map[string]any {
		if value = withoutNulls(value); value == nil {
			return into
		}
		if into == nil {
			into = make(map[string]any)
		}
		into[name] = value
		return into
	}
	for name, value := range fields {
		if name == headerName || names[name] {
			continue
		}
		parts, compound := value.(map[string]any)
		switch _, inside := names[name]; {
		case !inside:
			delete(fields, name)
			enriched = along(enriched, name, value)
		case compound:
			var rest map[string]any
			for part, value := range parts {
				if !names[name+"."+part] {
					delete(parts, part)
					rest = along(rest, part, value)
				}
			}
			if rest != nil {
				enriched = along(enriched, name, rest)
			}
		}
	}
	return enriched
}

// withoutNulls leaves out what is empty: over the Pub/Sub API an enriched field that is null looks
// as one that is not there.
func withoutNulls(value any) any {
	if fields, ok := value.(map[string]any); ok {
		for name, element := range fields {
			if element == nil {
				delete(fields, name)
			}
		}
	}
	return value
}
