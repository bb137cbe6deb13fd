"""What a newcomer reads when the server has started."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit


def guide_text(endpoints: Mapping[str, object]) -> str:
    """Where everything is and what to try, for the addresses of the ready line."""
    http = str(endpoints["http"]).rstrip("/")
    mllp, dicom = str(endpoints["mllp"]), str(endpoints["dicom"])
    title, _, address = dicom.rpartition("@")
    host, _, port = address.rpartition(":")
    usual = urlsplit(http).port == 8080 and mllp.endswith(":2575") and dicom.endswith(":11112")
    to_http, to_mllp = ("", "") if usual else (f" --to {http}", f" --to {mllp}")
    pix = "" if usual else f" --pix {mllp}"
    return f"""
The affinity domain is running. Ctrl-C ends it.

  Portal                     {http}/
  Document Registry          {http}/services/registry          (?wsdl)
  Document Repository        {http}/services/repository        (?wsdl)
  Imaging Document Source    {http}/services/imaging-source    (?wsdl)
  DICOMweb                   {http}/dicomweb
  WADO-URI                   {http}/wado
  Patients, by HL7 v2        {mllp}   (feed, PIX, PDQ over MLLP)
  Patients, by HL7 v3        {http}/services/pix-manager       {http}/services/pdq-supplier
  Patients, by FHIR          {http}/fhir/metadata
  DICOM                      {dicom}
  Health, metrics            {http}/health/ready   {http}/metrics

Try in another terminal (the command is .venv/bin/xds unless the environment is active):

  xds transactions
  xds send iti09{to_mllp} --patient 'A0001^^^&2.999.10&ISO'
  xds send iti47{to_http} --name 'lambert^eleo*' --birth-date 1958
  xds send iti18{to_http} FindDocuments --local 'A0001^^^&2.999.10&ISO'{pix}
  storescu -aec {title} {host} {port} image.dcm
  curl -s {http}/health/ready

README.md leads through a first exchange; `xds docs` is the manual.
"""
