package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// model is a service in botocore's form, as far as the generator reads it.
type model struct {
	Metadata struct {
		APIVersion      string `json:"apiVersion"`
		EndpointPrefix  string `json:"endpointPrefix"`
		SigningName     string `json:"signingName"`
		Protocol        string `json:"protocol"`
		ServiceFullName string `json:"serviceFullName"`
		XMLNamespace    string `json:"xmlNamespace"`
		TargetPrefix    string `json:"targetPrefix"`
	} `json:"metadata"`
	Operations map[string]*operation `json:"operations"`
	Shapes     map[string]*shape     `json:"shapes"`
	Pagination map[string]paginator  `json:"pagination"`
}

type operation struct {
	Name          string `json:"name"`
	Documentation string `json:"documentation"`
	HTTP          struct {
		Method       string `json:"method"`
		RequestURI   string `json:"requestUri"`
		ResponseCode int    `json:"responseCode"`
	} `json:"http"`
	Input  *ref  `json:"input"`
	Output *ref  `json:"output"`
	Errors []ref `json:"errors"`
}

type shape struct {
	Type          string          `json:"type"`
	Documentation string          `json:"documentation"`
	Members       map[string]*ref `json:"members"`
	Required      []string        `json:"required"`
	Payload       string          `json:"payload"`
	Member        *ref            `json:"member"`
	Key           *ref            `json:"key"`
	Value         *ref            `json:"value"`
	Enum          []string        `json:"enum"`
	Pattern       string          `json:"pattern"`
	Min           *int64          `json:"min"`
	Max           *int64          `json:"max"`
	Sensitive     bool            `json:"sensitive"`
	Bytes         bool            `json:"bytes"` // ours: a string that need not be UTF-8
	Flattened     bool            `json:"flattened"`
	Exception     bool            `json:"exception"`
	Error         *struct {
		Code   string `json:"code"`
		Status int    `json:"httpStatusCode"`
	} `json:"error"`
}

// ref is the use of a shape, with what is said about that use.
type ref struct {
	Shape            string `json:"shape"`
	Location         string `json:"location"`
	LocationName     string `json:"locationName"`
	IdempotencyToken bool   `json:"idempotencyToken"`
	Streaming        bool   `json:"streaming"`
}

type paginator struct {
	InputToken  any    `json:"input_token"`
	OutputToken any    `json:"output_token"`
	LimitKey    string `json:"limit_key"`
	ResultKey   any    `json:"result_key"`
}

// patches is what api/patches.json says about one service: facts that its model lacks or has wrong.
type patches struct {
	Model   string `json:"model"`
	Package string `json:"package"`
	Page    string `json:"page"`    // address of an operation's public page, with %s for the operation
	Missing string `json:"missing"` // error code for a required member that is absent
	Invalid string `json:"invalid"` // error code for a member that breaks a rule
	Errors  map[string]struct {
		Status int    `json:"status"`
		Page   string `json:"page"`
	} `json:"errors"`
	Corrections []correction `json:"corrections"`
}

// correction replaces one value of a model.
type correction struct {
	At    []string        `json:"at"` // keys from the top of the model
	Value json.RawMessage `json:"value"`
	Why   string          `json:"why"`
	Page  string          `json:"page"`
}

// service is a model with its patches.
type service struct {
	model
	patches
}

// load reads the services named in api/patches.json, ordered by package.
func load(dir string) ([]*service, error) {
	text, err := os.ReadFile(filepath.Join(dir, "patches.json"))
	if err != nil {
		return nil, err
	}
	var all map[string]patches
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read patches.json: %w", err)
	}
	var services []*service
	for _, p := range all {
		s := &service{patches: p}
		if err := s.read(filepath.Join(dir, p.Model)); err != nil {
			return nil, fmt.Errorf("read model %s: %w", p.Model, err)
		}
		services = append(services, s)
	}
	slices.SortFunc(services, func(a, b *service) int { return strings.Compare(a.Package, b.Package) })
	return services, nil
}

func (s *service) read(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, c := range s.Corrections {
		if text, err = c.apply(text); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(text, &s.model); err != nil {
		return err
	}
	return s.check()
}

func (c correction) apply(text []byte) ([]byte, error) {
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	at := root
	for i, key := range c.At {
		if i == len(c.At)-1 {
			at[key] = c.Value
			return json.Marshal(root)
		}
		next, ok := at[key].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("correction at %s: no such place", strings.Join(c.At, "/"))
		}
		at = next
	}
	return nil, fmt.Errorf("correction names no place")
}

// check refuses what the rest of the generator does not understand.
func (s *service) check() error {
	state := map[string]int{}
	for _, name := range sorted(s.Shapes) {
		if err := s.visit(name, state); err != nil {
			return err
		}
		sh := s.Shapes[name]
		if sh.Exception && s.status(name) == 0 {
			return fmt.Errorf("error %s has no status: add it to patches.json", name)
		}
		if sh.Flattened {
			return fmt.Errorf("shape %s is flattened: not supported", name)
		}
	}
	return nil
}

// visit refuses shapes that are unknown or contain themselves.
func (s *service) visit(name string, state map[string]int) error {
	sh := s.Shapes[name]
	if sh == nil {
		return fmt.Errorf("shape %s is not defined", name)
	}
	switch state[name] {
	case 1:
		return fmt.Errorf("shape %s contains itself: not supported", name)
	case 2:
		return nil
	}
	state[name] = 1
	for _, r := range sh.refs() {
		if err := s.visit(r.Shape, state); err != nil {
			return err
		}
	}
	state[name] = 2
	return nil
}

func (sh *shape) refs() []*ref {
	var refs []*ref
	for _, name := range sorted(sh.Members) {
		refs = append(refs, sh.Members[name])
	}
	for _, r := range []*ref{sh.Member, sh.Key, sh.Value} {
		if r != nil {
			refs = append(refs, r)
		}
	}
	return refs
}

// status returns the HTTP status of an error.
func (s *service) status(name string) int {
	if p, ok := s.Errors[name]; ok {
		return p.Status
	}
	if e := s.Shapes[name].Error; e != nil {
		return e.Status
	}
	return 0
}

// code returns the name of an error on the wire.
func (s *service) code(name string) string {
	if e := s.Shapes[name].Error; e != nil && e.Code != "" {
		return e.Code
	}
	return name
}

func (s *service) scope() string {
	if s.Metadata.SigningName != "" {
		return s.Metadata.SigningName
	}
	return s.Metadata.EndpointPrefix
}

func sorted[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
