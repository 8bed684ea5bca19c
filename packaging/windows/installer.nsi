; The installer for Windows, made on Linux by makensis (NSIS).
;   makensis -DVERSION=0.1.0 -DCONTENT=folder -DOUT=setup.exe installer.nsi
; setup.exe /S installs without a word. uninstall.exe /S takes everything away again; with /KEEP the configuration, the key
; and the state stay.
; A 64-bit installer: what it installs is nothing else.
Target amd64-unicode
ManifestDPIAware true
RequestExecutionLevel admin
; -DQUICK: larger, and made ten times as fast.
!ifdef QUICK
  SetCompressor zlib
!else
  SetCompressor /SOLID lzma
!endif

!include "FileFunc.nsh"
!include "LogicLib.nsh"
!include "x64.nsh"

!define UNINSTALL "Software\Microsoft\Windows\CurrentVersion\Uninstall\vipdrift"

Name "vipdrift ${VERSION}"
OutFile "${OUT}"
InstallDir "$PROGRAMFILES64\vipdrift"
ShowInstDetails show
ShowUninstDetails show

Page instfiles
UninstPage uninstConfirm
UninstPage instfiles

; Where the configuration, the key and the state are.
Var Data

!macro FindData
  SetRegView 64
  SetShellVarContext all
  StrCpy $Data "$APPDATA\vipdrift"
!macroend

Function .onInit
  ${IfNot} ${RunningX64}
    MessageBox MB_ICONSTOP "vipdrift is for 64-bit Windows." /SD IDOK
    Abort
  ${EndIf}
  !insertmacro FindData
FunctionEnd

Function un.onInit
  !insertmacro FindData
FunctionEnd

Section "vipdrift"
  ; A service that runs keeps its program from being replaced.
  IfFileExists "$INSTDIR\vipdrift.exe" 0 +2
    nsExec::ExecToLog '"$INSTDIR\vipdrift.exe" service stop'
  SetOutPath "$INSTDIR"
  ClearErrors
  File "${CONTENT}/vipdrift.exe"
  File "${CONTENT}/README.md"
  File "${CONTENT}/LICENSE-MIT.txt"
  File "${CONTENT}/LICENSE-APACHE.txt"
  IfErrors 0 +3
    DetailPrint "The program cannot be written: is it running? Stop it, and try again."
    Abort
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr HKLM "${UNINSTALL}" "DisplayName" "vipdrift"
  WriteRegStr HKLM "${UNINSTALL}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKLM "${UNINSTALL}" "Publisher" "vipdrift"
  WriteRegStr HKLM "${UNINSTALL}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKLM "${UNINSTALL}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKLM "${UNINSTALL}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKLM "${UNINSTALL}" "NoModify" 1
  WriteRegDWORD HKLM "${UNINSTALL}" "NoRepair" 1
  ${GetSize} "$INSTDIR" "/S=0K" $0 $1 $2
  WriteRegDWORD HKLM "${UNINSTALL}" "EstimatedSize" $0
  ; A folder that holds a key is the administrators' alone.
  CreateDirectory "$Data"
  nsExec::ExecToLog '"$SYSDIR\icacls.exe" "$Data" /inheritance:r /grant:r *S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F'
  SetOutPath "$Data"
  File "${CONTENT}/vipdrift.example.toml"
  DetailPrint "Next: write $Data\vipdrift.toml after the example beside it, then, as administrator:"
  DetailPrint '  "$INSTDIR\vipdrift.exe" key --out "$Data\cluster.key"   (on one node; copy it to the others)'
  DetailPrint '  "$INSTDIR\vipdrift.exe" check'
  DetailPrint '  "$INSTDIR\vipdrift.exe" service install, and service start'
SectionEnd

Section "Uninstall"
  nsExec::ExecToLog '"$INSTDIR\vipdrift.exe" service uninstall'
  Pop $0
  ${If} $0 != 0
    DetailPrint "The service cannot be taken away; nothing was removed."
    SetErrorLevel 1
    Abort
  ${EndIf}
  Delete "$INSTDIR\vipdrift.exe"
  Delete "$INSTDIR\README.md"
  Delete "$INSTDIR\LICENSE-MIT.txt"
  Delete "$INSTDIR\LICENSE-APACHE.txt"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  DeleteRegKey HKLM "${UNINSTALL}"
  Delete "$Data\vipdrift.example.toml"
  ${GetParameters} $0
  ClearErrors
  ${GetOptions} $0 "/KEEP" $1
  ${If} ${Errors}
    RMDir /r "$Data"
  ${Else}
    RMDir "$Data"
  ${EndIf}
SectionEnd
