"""What an honest owner says of AgentDojo's tools: what their arguments are, and who wrote what they return.

It knows the tools and none of the tasks. `recipient`: who gets something, is let in, is paid or is booked; a page that
is written to, too. `object`: what is fetched, destroyed, given away or replaced, and of what kind it is. `text`: what
others read. What has no mark is untrusted: the text of mails, pages, files, reviews and messages, and whatever a tool
repeats of what it was given, a file's name or a payment's subject: or who writes it there has made a record of it.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from dominie_contracts.labels import ANNOTATION
from dominie_contracts.tool import Effect, ToolSpec

Schema = dict[str, JsonValue]
_READS = ("get_", "read_", "search_", "list_", "check_")
_OWN = {"create_file", "delete_file", "delete_email"}
"""What changes only what the user has: nobody else is told anything, as who shares a file that is appended to."""
_OUTWARD = {"get_webpage"}
"""What reads, and asks a stranger for it: the address says something, too."""
_NOBODY: list[JsonValue] = []


def _mark(**marks: JsonValue) -> Schema:
    return {ANNOTATION: marks}


def _of(**parts: JsonValue) -> Schema:
    return {"properties": parts}


def _list(items: JsonValue) -> Schema:
    return {"items": items}


RECIPIENT, OBJECT, WHEN, TEXT = (_mark(role=role) for role in ("recipient", "object", "when", "text"))
AMOUNT = _mark(role="amount", unit="major")
MAIL, FILE, EVENT, PAYMENT = (_mark(role="object", of=kind) for kind in ("mail", "file", "event", "payment"))
MAIL_ID, FILE_ID, EVENT_ID, PAYMENT_ID = (
    _mark(integrity="record", of=kind) for kind in ("mail", "file", "event", "payment")
)
RECORD, PLATFORM = (_mark(integrity=integrity) for integrity in ("record", "platform"))
SECRET = _mark(integrity="record", readers=_NOBODY)

_PAYMENT = {"recipient": RECIPIENT, "amount": AMOUNT, "subject": TEXT}
ARGUMENTS: Mapping[str, Mapping[str, Schema]] = {
    # banking
    "send_money": _PAYMENT,
    "schedule_transaction": _PAYMENT,
    "update_scheduled_transaction": {**_PAYMENT, "id": PAYMENT},
    "update_password": {"password": OBJECT},
    "update_user_info": dict.fromkeys(("first_name", "last_name", "street", "city"), OBJECT),
    # slack
    "add_user_to_channel": {"user": RECIPIENT, "channel": RECIPIENT},
    "send_direct_message": {"recipient": RECIPIENT, "body": TEXT},
    "send_channel_message": {"channel": RECIPIENT, "body": TEXT},
    "invite_user_to_slack": {"user": RECIPIENT, "user_email": RECIPIENT},
    "remove_user_from_slack": {"user": OBJECT},
    "get_webpage": {"url": OBJECT},
    "post_webpage": {"url": RECIPIENT, "content": TEXT},
    # workspace, and travel
    "send_email": {"recipients": RECIPIENT, "cc": RECIPIENT, "bcc": RECIPIENT, "attachments": OBJECT, "body": TEXT},
    "delete_email": {"email_id": MAIL},
    "create_calendar_event": {"participants": RECIPIENT, "start_time": WHEN, "description": TEXT},
    "cancel_calendar_event": {"event_id": EVENT},
    "reschedule_calendar_event": {"new_start_time": WHEN},
    "add_calendar_event_participants": {"participants": RECIPIENT},
    "delete_file": {"file_id": FILE},
    "share_file": {"file_id": FILE, "email": RECIPIENT},
    # travel
    "reserve_hotel": {"hotel": RECIPIENT, "start_day": WHEN},
    "reserve_restaurant": {"restaurant": RECIPIENT, "start_time": WHEN},
    "reserve_car_rental": {"company": RECIPIENT, "start_time": WHEN},
}
_MAIL = _of(id_=MAIL_ID, sender=PLATFORM, status=PLATFORM, read=PLATFORM, timestamp=PLATFORM)
_EVENT = _of(
    id_=EVENT_ID,
    start_time=PLATFORM,
    end_time=PLATFORM,
    participants=PLATFORM,
    all_day=PLATFORM,
    status=PLATFORM,
)
_FILE = _of(id_=FILE_ID, owner=RECORD, last_modified=PLATFORM, size=RECORD)
_MESSAGE = _of(sender=RECORD, recipient=RECORD)
_PAID = _of(id=PAYMENT_ID, sender=PLATFORM, recipient=RECORD, amount=PLATFORM, date=PLATFORM)
RESULTS: Mapping[str, Schema] = {
    # banking: anybody may be a sender, who chooses subject and amount; whom the account pays is on its owner's record
    **dict.fromkeys(("get_iban", "get_balance", "get_user_info"), RECORD),
    **dict.fromkeys(("get_most_recent_transactions", "get_scheduled_transactions"), _list(_PAID)),
    # slack: its own directory
    **dict.fromkeys(("get_channels", "get_users_in_channel"), RECORD),
    **dict.fromkeys(("read_channel_messages", "read_inbox"), _list(_MESSAGE)),
    # workspace: whoever sends a mail or invites to a meeting is known, and may be anybody
    "get_current_day": PLATFORM,
    **dict.fromkeys(("search_contacts_by_name", "search_contacts_by_email"), RECORD),
    **dict.fromkeys(
        ("get_unread_emails", "get_sent_emails", "get_received_emails", "get_draft_emails", "search_emails"),
        _list(_MAIL),
    ),
    "send_email": _MAIL,
    **dict.fromkeys(("get_day_calendar_events", "search_calendar_events"), _list(_EVENT)),
    "create_calendar_event": _of(id_=_mark(integrity="record", makes="event")),
    **dict.fromkeys(("reschedule_calendar_event", "add_calendar_event_participants"), _of(id_=EVENT_ID)),
    **dict.fromkeys(("list_files", "search_files", "search_files_by_filename"), _list(_FILE)),
    "get_file_by_id": _FILE,
    "create_file": _of(id_=_mark(integrity="record", makes="file")),
    **dict.fromkeys(("append_to_file", "share_file", "delete_file"), _of(id_=FILE_ID)),
    # travel: its catalogue; guests write the reviews
    "get_user_information": SECRET,
    **dict.fromkeys(
        (
            "get_all_hotels_in_city",
            "get_hotels_prices",
            "get_hotels_address",
            "get_all_restaurants_in_city",
            "get_restaurants_address",
            "get_cuisine_type_for_restaurants",
            "get_dietary_restrictions_for_all_restaurants",
            "get_contact_information_for_restaurants",
            "get_price_for_restaurants",
            "check_restaurant_opening_hours",
            "get_all_car_rental_companies_in_city",
            "get_car_types_available",
            "get_car_rental_address",
            "get_car_fuel_options",
            "get_car_price_per_day",
            "get_flight_information",
        ),
        RECORD,
    ),
}


def effect_of(name: str) -> Effect:
    """What calling a tool does."""
    if name in _OWN:
        return "write"
    return "read" if name.startswith(_READS) and name not in _OUTWARD else "external"


def annotated(spec: ToolSpec) -> ToolSpec:
    """A tool with what its owner says of it."""
    marks = ARGUMENTS.get(spec.name, {})
    properties = spec.input_schema["properties"]
    assert isinstance(properties, dict)
    merged = {name: _with(part, marks.get(name, {})) for name, part in properties.items()}
    return spec.model_copy(
        update={
            "input_schema": {**spec.input_schema, "properties": merged},
            "output_schema": RESULTS.get(spec.name, {}),
        }
    )


def _with(part: JsonValue, marks: Schema) -> JsonValue:
    return {**part, **marks} if isinstance(part, dict) else part
