"""`xds send rad04` and `rad128`: orders and reports of imaging, in HL7 v2 over MLLP."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from xds.cli import files, mllp_exchange
from xds.cli.identity_options import BirthDate, Files, Name, Patients, Sex, Source, described
from xds.cli.outcome import Usage
from xds.cli.sending import Sending, by_mllp
from xds.model.identifiers import is_oid
from xds.model.imaging import ImagingOrder, OrderNumber, OrderState
from xds.model.metadata import Code
from xds.wire import hl7v2
from xds.wire.dicom_study import is_uid
from xds.wire.hl7v2_answers import new_control_id
from xds.wire.hl7v2_imaging_messages import Envelope, write_order, write_report

_NUMBER = "NUMBER^NAMESPACE^OID"
Accession = Annotated[str, typer.Option(metavar=_NUMBER, help="Accession number; its issuer may be left out.")]
Placer = Annotated[str, typer.Option(metavar=_NUMBER, help="Placer order number.")]
Study = Annotated[str, typer.Option(metavar="UID", help="Study Instance UID.")]
Procedure = Annotated[str, typer.Option(metavar="CODE^DISPLAY^SCHEME", help="Procedure that is done.")]


@by_mllp
def rad04(
    sending: Sending,
    given: Files = None,
    patient: Patients = None,
    accession: Accession = "",
    placer: Placer = "",
    filler: Annotated[str, typer.Option(metavar=_NUMBER, help="Filler order number.")] = "",
    study: Study = "",
    procedure: Procedure = "",
    state: Annotated[OrderState, typer.Option(help="What became of the order.")] = OrderState.OPEN,
    name: Name = "",
    birth_date: BirthDate = None,
    sex: Sex = None,
    source: Source = "XDS|CLI",
) -> None:
    """Tell of the procedure of an order: OMI^O23 (RAD-4; RAD-13 when it is told again).

    **Examples**

    `xds send rad04 --patient 'A1^^^HOSP_A&2.999.10&ISO' --accession 'ACC7^RIS^2.999.7' --placer P7 --study 1.2.3`

    `xds send rad04 --patient 'A1^^^HOSP_A&2.999.10&ISO' --accession ACC7 --placer P7 --study 1.2.3 --state completed`
    """

    def draft() -> hl7v2.Message:
        order = _order(accession, placer, filler, study, procedure, state)
        return write_order(order, _envelope(patient, name, birth_date, sex, source), now=datetime.now(UTC))

    mllp_exchange.deliver_given(given, patient, draft, sending)


@by_mllp
def rad128(
    sending: Sending,
    given: Files = None,
    patient: Patients = None,
    document: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The report: PDF, CDA or text. Without it the report is withdrawn.")
    ] = None,
    number: Annotated[str, typer.Option(metavar=_NUMBER, help="Number of the report (OBR-3); the same again replaces it.")] = "",
    accession: Accession = "",
    placer: Placer = "",
    study: Study = "",
    procedure: Procedure = "",
    name: Name = "",
    birth_date: BirthDate = None,
    sex: Sex = None,
    source: Source = "XDS|CLI",
) -> None:
    """Send an imaging report, which becomes a document of the patient's record: ORU^R01 (RAD-128).

    **Examples**

    `xds send rad128 --patient 'A1^^^HOSP_A&2.999.10&ISO' --number R7 --accession ACC7 --study 1.2.3 --document report.pdf`
    """

    def draft() -> hl7v2.Message:
        if not number:
            raise Usage("a report has a --number")
        content = files.content(document) if document is not None else b""
        if document is not None and not content:
            raise Usage(f"{document} is empty")
        order = _order(accession, placer, number, study, procedure, OrderState.OPEN)
        envelope = _envelope(patient, name, birth_date, sex, source)
        try:
            return write_report(order, content, envelope, now=datetime.now(UTC))
        except UnicodeDecodeError:
            raise Usage(f"{document} is neither PDF nor CDA nor text in UTF-8") from None

    mllp_exchange.deliver_given(given, patient, draft, sending)


def _envelope(patient: list[str] | None, name: str, birth_date: str | None, sex: str | None, source: str) -> Envelope:
    return Envelope(
        mllp_exchange.identifiers(patient),
        described(name, birth_date, sex),
        source,
        mllp_exchange.DESTINATION,
        new_control_id(),
    )


def _order(accession: str, placer: str, filler: str, study: str, procedure: str, state: OrderState) -> ImagingOrder:
    if study and not is_uid(study):
        raise Usage(f"a Study Instance UID has digits and dots, not {study!r}")
    return ImagingOrder(_number(accession), _number(placer), _number(filler), study, procedure=_code(procedure), state=state)


def _number(text: str) -> OrderNumber:
    value, namespace, oid, *more = (*text.split("^"), "", "")
    if any(more) or (oid and not is_oid(oid)):
        raise Usage(f"a number is written {_NUMBER}, where the issuer may be left out, not {text!r}")
    return OrderNumber(value, oid or None, namespace or None)


def _code(text: str) -> Code | None:
    if not text:
        return None
    code, display, scheme, *more = (*text.split("^"), "", "")
    if not code or any(more):
        raise Usage(f"a procedure is written CODE^DISPLAY^SCHEME, not {text!r}")
    return Code(code, scheme, display)
