package effect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"go.mau.fi/util/retryafter"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// matrixAttempt is how long the homeserver may take to answer one request.
// Creating a room is the slowest of them.
const matrixAttempt = 30 * time.Second

// Matrix is how an effect reaches the Matrix homeserver, and the tenant's
// support room there.
type Matrix struct {
	Homeserver  string        `env:"MATRIX_HOMESERVER,required,notEmpty"   doc:"The homeserver's address, such as http://synapse.matrix.svc:8008."`
	ServerName  string        `env:"MATRIX_SERVER_NAME,required,notEmpty"  doc:"The homeserver's name: what stands behind the colon in its users' ids."`
	AccessToken string        `env:"MATRIX_ACCESS_TOKEN,required,notEmpty" doc:"Access token of the user who owns the support rooms. It need not be an administrator's." secret:"true"`
	CAFile      string        `env:"MATRIX_CA_FILE"                        doc:"File with the certificates of the authorities that may vouch for the homeserver. Empty means those that the image knows."`
	Room        string        `env:"MATRIX_ROOM,required,notEmpty"         doc:"The room's name and the first half of its alias, such as support-acme-023."`
	Patience    time.Duration `env:"MATRIX_PATIENCE" envDefault:"2m"       doc:"How long to go on with one request while the homeserver asks for patience. Keep it below the Job's deadline."`
}

var roomName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// Validate the configuration.
func (c Matrix) Validate() error {
	errs := []error{validBaseURL("MATRIX_HOMESERVER", c.Homeserver), validTimeout("MATRIX_PATIENCE", c.Patience)}
	if !id.ValidateServerName(c.ServerName) {
		errs = append(errs, fmt.Errorf("MATRIX_SERVER_NAME: %q must be a Matrix server name, such as planapulse.com", c.ServerName))
	}
	if !roomName.MatchString(c.Room) {
		errs = append(errs, fmt.Errorf("MATRIX_ROOM: %q must be lower-case letters, digits, dots, dashes and underscores", c.Room))
	}
	return errors.Join(errs...)
}

// alias is what the room is known by. It names the tenant's project, and the
// homeserver keeps it unique.
func (c Matrix) alias() id.RoomAlias {
	return id.NewRoomAlias(c.Room, c.ServerName)
}

// retiredName is what the room is called once its tenant is gone.
func (c Matrix) retiredName() string {
	return c.Room + " (retired)"
}

// authority that vouches for the homeserver.
func (c Matrix) authority() authority {
	return authority{variable: "MATRIX_CA_FILE", field: "matrix.caSecret", file: c.CAFile}
}

// homeserver is a session at a Matrix homeserver.
type homeserver struct {
	client   *mautrix.Client
	patience time.Duration
}

// connect to the homeserver and learn who the token's owner is.
func (c Matrix) connect(ctx context.Context) (*homeserver, error) {
	client, err := mautrix.NewClient(c.Homeserver, "", c.AccessToken)
	if err != nil {
		return nil, Terminal(fmt.Errorf("cannot use MATRIX_HOMESERVER: %w", err))
	}
	client.UserAgent = "function-planaclient"
	client.ResponseSizeLimit = 16 << 20
	client.IgnoreRateLimit = true // Left to retryFor, which also reads the answer's body.
	transport, err := c.authority().transport()
	if err != nil {
		return nil, err
	}
	client.Client = &http.Client{
		Transport: transport,
		Timeout:   matrixAttempt,
		// The token goes where it was addressed to, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	hs := &homeserver{client: client, patience: c.Patience}

	var me *mautrix.RespWhoami
	if err := hs.do(ctx, func(ctx context.Context) (err error) {
		me, err = client.Whoami(ctx)
		return err
	}); err != nil {
		return nil, fmt.Errorf("cannot log in at %s: %w", c.Homeserver, c.authority().explain(err))
	}
	if me == nil || me.UserID == "" {
		return nil, fmt.Errorf("cannot log in at %s: it does not say whose MATRIX_ACCESS_TOKEN is: is it a Matrix homeserver?", c.Homeserver)
	}
	// A server makes aliases under its own name only.
	if server := me.UserID.Homeserver(); server != c.ServerName {
		return nil, Terminal(fmt.Errorf("MATRIX_SERVER_NAME is %s, but the homeserver at %s is %s", c.ServerName, c.Homeserver, server))
	}
	client.UserID = me.UserID
	return hs, nil
}

// do a request, again for as long as the homeserver asks for patience, and
// explain the ways it goes wrong.
func (hs *homeserver) do(ctx context.Context, request func(context.Context) error) error {
	return retryFor(ctx, hs.patience, func(ctx context.Context) error {
		err := request(ctx)
		var answer mautrix.HTTPError
		if err == nil || !errors.As(err, &answer) {
			return err
		}
		switch {
		case answer.IsStatus(http.StatusTooManyRequests):
			return retryable(err, askedPatience(answer))
		case errors.Is(err, mautrix.MUnknownToken), errors.Is(err, mautrix.MMissingToken), errors.Is(err, mautrix.MUserDeactivated):
			// Not terminal: a Secret can be put right while the Job goes on.
			return fmt.Errorf("the homeserver refuses MATRIX_ACCESS_TOKEN: %w", err)
		case errors.Is(err, mautrix.MExclusive), errors.Is(err, mautrix.MInvalidParam), errors.Is(err, mautrix.MBadJSON):
			return Terminal(err)
		default:
			return err
		}
	})
}

// askedPatience is how long the homeserver asks to wait: in a header, or, as
// older ones have it, in the answer. Zero means it did not say.
func askedPatience(answer mautrix.HTTPError) time.Duration {
	if answer.RespError != nil {
		if ms, ok := answer.RespError.ExtraData["retry_after_ms"].(float64); ok && ms > 0 && ms < 1e9 {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return max(0, retryafter.Parse(answer.Response.Header.Get("Retry-After"), 0))
}

// find the room that an alias stands for. It is empty when there is none.
func (hs *homeserver) find(ctx context.Context, alias id.RoomAlias) (id.RoomID, error) {
	var found *mautrix.RespAliasResolve
	err := hs.do(ctx, func(ctx context.Context) (err error) {
		found, err = hs.client.ResolveAlias(ctx, alias)
		return err
	})
	switch {
	// Only the homeserver's own word counts: any web server answers 404.
	case errors.Is(err, mautrix.MNotFound):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("cannot look up %s: %w", alias, err)
	case found == nil || found.RoomID == "":
		return "", fmt.Errorf("cannot look up %s: the homeserver's answer names no room", alias)
	}
	return found.RoomID, nil
}

// name of a room, which is empty when it has none.
func (hs *homeserver) name(ctx context.Context, room id.RoomID) (string, error) {
	var content event.RoomNameEventContent
	err := hs.do(ctx, func(ctx context.Context) error {
		return hs.client.StateEvent(ctx, room, event.StateRoomName, "", &content)
	})
	switch {
	case errors.Is(err, mautrix.MNotFound):
		return "", nil
	case errors.Is(err, mautrix.MForbidden):
		return "", fmt.Errorf("%s is not a member of room %s, which has the tenant's alias: invite and join it there, or take the alias away from that room: %w",
			hs.client.UserID, room, err)
	case err != nil:
		return "", fmt.Errorf("cannot read the name of room %s: %w", room, err)
	}
	return content.Name, nil
}

// A stateEvent is part of what a room is.
type stateEvent struct {
	Type     string          `json:"type"`
	Sender   id.UserID       `json:"sender"`
	StateKey id.UserID       `json:"state_key"`
	Content  json.RawMessage `json:"content"`
}

// state of a room. mautrix panics on a list with a null in it.
func (hs *homeserver) state(ctx context.Context, room id.RoomID) ([]stateEvent, error) {
	var state []stateEvent
	err := hs.do(ctx, func(ctx context.Context) error {
		_, err := hs.client.MakeRequest(ctx, http.MethodGet, hs.client.BuildClientURL("v3", "rooms", room, "state"), nil, &state)
		return err
	})
	return state, err
}

// creator of a room: who sent its first event. Only that is true in every version of
// rooms.
func (hs *homeserver) creator(ctx context.Context, room id.RoomID) (id.UserID, error) {
	state, err := hs.state(ctx, room)
	if err != nil {
		return "", fmt.Errorf("cannot tell who made room %s: %w", room, err)
	}
	for _, e := range state {
		if e.Type == event.StateCreate.Type && e.Sender != "" {
			return e.Sender, nil
		}
	}
	return "", fmt.Errorf("cannot tell who made room %s: the homeserver's answer doesn't say", room)
}

// members of a room, past ones included, by what they are to it. They are read
// from the room's state: Dendrite keeps its list of members apart from that, a
// moment behind.
func (hs *homeserver) members(ctx context.Context, room id.RoomID) (map[id.UserID]event.Membership, error) {
	state, err := hs.state(ctx, room)
	if err != nil {
		return nil, fmt.Errorf("cannot list the members of room %s: %w", room, err)
	}
	members := map[id.UserID]event.Membership{}
	for _, e := range state {
		if e.Type != event.StateMember.Type {
			continue
		}
		var content event.MemberEventContent
		if err := json.Unmarshal(e.Content, &content); err != nil {
			return nil, fmt.Errorf("cannot tell whether %s is in room %s: %w", e.StateKey, room, err)
		}
		members[e.StateKey] = content.Membership
	}
	return members, nil
}

// membership is what one user is to a room, and empty if the room has never seen
// them.
func (hs *homeserver) membership(ctx context.Context, room id.RoomID, user id.UserID) (event.Membership, error) {
	var content event.MemberEventContent
	err := hs.do(ctx, func(ctx context.Context) error {
		return hs.client.StateEvent(ctx, room, event.StateMember, user.String(), &content)
	})
	if err != nil && !errors.Is(err, mautrix.MNotFound) {
		return "", fmt.Errorf("cannot tell whether %s is in room %s: %w", user, room, err)
	}
	return content.Membership, nil
}

// dropAlias takes an alias away from its room.
func (hs *homeserver) dropAlias(ctx context.Context, alias id.RoomAlias) error {
	err := hs.do(ctx, func(ctx context.Context) error {
		_, err := hs.client.DeleteAlias(ctx, alias)
		return err
	})
	if err != nil && !errors.Is(err, mautrix.MNotFound) {
		return fmt.Errorf("cannot drop alias %s: %w", alias, err)
	}
	return nil
}
