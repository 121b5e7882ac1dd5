package v1beta1

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/structpb"
	kjson "sigs.k8s.io/json"
)

// Parse a pipeline step's input as a Platform, with its defaults applied, and
// validate it. No input at all is an empty Platform. The error lists everything
// that is wrong, each with its field path.
func Parse(input *structpb.Struct) (*Platform, error) {
	p := &Platform{}
	if input != nil {
		raw, err := input.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("cannot read the Platform: %w", err)
		}
		strict, err := kjson.UnmarshalStrict(raw, p)
		if err != nil {
			return nil, fmt.Errorf("cannot read the Platform: %w", err)
		}
		// A field that isn't known is a setting that somebody believes to be in
		// force. It may be a typo in a retention or a namespace.
		if err := errors.Join(strict...); err != nil {
			return nil, fmt.Errorf("cannot use the Platform: %w", err)
		}
		if p.Kind != "" && p.Kind != "Platform" {
			return nil, fmt.Errorf("cannot use the Platform: kind: must be Platform, not %q", p.Kind)
		}
	}

	p.Default()
	if err := p.Validate().ToAggregate(); err != nil {
		return nil, fmt.Errorf("cannot use the Platform: %w", err)
	}
	return p, nil
}
