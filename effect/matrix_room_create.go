package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"
)

// MatrixRoomCreateConfig configures MatrixRoomCreate.
type MatrixRoomCreateConfig struct {
	Tenant
	Matrix

	Invite []string `env:"MATRIX_INVITE" doc:"User ids to invite, separated by commas. May be empty."`
}

// Validate the configuration.
func (c MatrixRoomCreateConfig) Validate() error {
	errs := []error{c.Tenant.Validate(), c.Matrix.Validate()}
	for _, user := range c.invited() {
		if _, _, err := user.ParseAndValidateRelaxed(); err != nil {
			errs = append(errs, fmt.Errorf("MATRIX_INVITE: %q must be a Matrix user id, such as @support:planapulse.com", user))
		}
	}
	return errors.Join(errs...)
}

func (c MatrixRoomCreateConfig) invited() []id.UserID {
	users := make([]id.UserID, 0, len(c.Invite))
	for _, user := range c.Invite {
		if user = strings.TrimSpace(user); user != "" {
			users = append(users, id.UserID(user))
		}
	}
	return users
}

// MatrixRoomCreate makes sure that the tenant has a support room, and that
// everybody who is to be in it has been invited once.
func MatrixRoomCreate(ctx context.Context, c MatrixRoomCreateConfig) error {
	hs, err := c.connect(ctx)
	if err != nil {
		return err
	}
	room, err := hs.findOrCreate(ctx, c)
	if err != nil {
		return err
	}
	invited, err := hs.invite(ctx, room, c.invited())
	if err != nil {
		return fmt.Errorf("room %s is there, but not everybody is invited: %w", c.alias(), err)
	}
	slog.InfoContext(ctx, "The support room is there", "alias", c.alias(), "room", room, "invited", invited)
	return nil
}

// findOrCreate the room that has the tenant's alias.
func (hs *homeserver) findOrCreate(ctx context.Context, c MatrixRoomCreateConfig) (id.RoomID, error) {
	room, err := hs.find(ctx, c.alias())
	if err != nil {
		return "", err
	}
	if room != "" {
		if err := hs.refuseStranger(ctx, room, c.alias()); err != nil {
			return "", err
		}
		name, err := hs.name(ctx, room)
		if err != nil {
			return "", err
		}
		if name != c.retiredName() {
			return room, nil
		}
		// An earlier tenant of this name was retired, but not to the end.
		slog.InfoContext(ctx, "Taking the alias away from a retired room", "alias", c.alias(), "room", room)
		if err := hs.dropAlias(ctx, c.alias()); err != nil {
			return "", err
		}
	}

	// Matrix has no key by which a room would be made once only. If this is cut
	// off between the room and its alias, the next run makes another, and nobody
	// was ever in the one that is left.
	var created *mautrix.RespCreateRoom
	failed := hs.do(ctx, func(ctx context.Context) (err error) {
		created, err = hs.client.CreateRoom(ctx, &mautrix.ReqCreateRoom{
			Preset:        "private_chat",
			RoomAliasName: c.Room,
			Name:          c.Room,
			Topic:         fmt.Sprintf("Support of %s (https://%s)", c.OwnerName, c.Database),
			// Nobody is invited yet: one bad user id would fail a room that
			// has been made already.
		})
		return err
	})
	if failed == nil && created != nil && created.RoomID != "" {
		slog.InfoContext(ctx, "Created the support room", "alias", c.alias(), "room", created.RoomID)
		return created.RoomID, nil
	}

	// Somebody else was faster (M_ROOM_IN_USE; Dendrite also answers 500), or
	// the answer was lost on its way: either way the room is there.
	room, err = hs.find(ctx, c.alias())
	switch {
	case err == nil && room != "":
		return room, hs.refuseStranger(ctx, room, c.alias())
	case failed == nil:
		return "", fmt.Errorf("cannot create room %s: the homeserver's answer names no room", c.alias())
	case errors.Is(failed, mautrix.MForbidden):
		return "", fmt.Errorf("cannot create room %s: the homeserver does not let %s: %w", c.alias(), hs.client.UserID, failed)
	default:
		return "", fmt.Errorf("cannot create room %s: %w", c.alias(), failed)
	}
}

// refuseStranger refuses a room that the owner of the support rooms hasn't made. Every
// user of the homeserver can give a room of theirs an alias that nobody has yet: what a
// customer writes there would be theirs to read.
func (hs *homeserver) refuseStranger(ctx context.Context, room id.RoomID, alias id.RoomAlias) error {
	creator, err := hs.creator(ctx, room)
	switch {
	case errors.Is(err, mautrix.MForbidden):
		creator = "another user"
	case err != nil:
		return err
	case creator == hs.client.UserID:
		return nil
	}
	return Terminal(fmt.Errorf("alias %s leads to room %s, which %s made and not %s, so it isn't taken for the tenant's: as the homeserver's administrator, "+
		"take the alias away from that room, and reserve #support-* to %s so that nobody else can have such an alias", alias, room, creator, hs.client.UserID, hs.client.UserID))
}

// invite those whom the room has never seen, and return them. Who has left it
// or declined is not asked again by a Job that happens to run twice.
func (hs *homeserver) invite(ctx context.Context, room id.RoomID, users []id.UserID) ([]id.UserID, error) {
	members, err := hs.members(ctx, room)
	if err != nil {
		return nil, err
	}
	var invited []id.UserID
	var errs []error
	for _, user := range users {
		if _, known := members[user]; known {
			continue
		}
		err := hs.do(ctx, func(ctx context.Context) error {
			_, err := hs.client.InviteUser(ctx, room, &mautrix.ReqInviteUser{UserID: user})
			return err
		})
		if err == nil {
			invited = append(invited, user)
			continue
		}
		// Another run of this effect may have invited them in the meantime.
		if now, again := hs.membership(ctx, room, user); again == nil && now != "" {
			continue
		}
		errs = append(errs, fmt.Errorf("cannot invite %s: %w", user, err))
	}
	return invited, errors.Join(errs...)
}
